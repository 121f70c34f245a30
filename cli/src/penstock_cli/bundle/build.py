"""`penstock bundle build`: the command around `penstock_cli.bundle.building`."""

import json
from pathlib import Path
from typing import Any

import click

from penstock_cli.errors import Command, Failure
from penstock_cli.progress import Progress

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("build", cls=Command)
@click.argument("model", type=_FILE)
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Directory to write the bundle to."
)
@click.option("--name", help="The bundle's name; default: the one in --describe, else the model file's.")
@click.option("--version", help="The bundle's version, such as 7; default: the one in --describe, else 1.")
@click.option("--features", type=_FILE, help="The fitted features.yaml. Without one, callers send the model's own tensors.")
@click.option(
    "--feature_repo",
    "--feature-repo",
    type=_DIRECTORY,
    help="Feast repository of the stored features: the online store's layout is taken from it.",
)
@click.option("--examples", type=_FILE, help="Raw rows (.csv, .parquet, .jsonl) for golden.jsonl and profile.json.")
@click.option(
    "--golden_rows", "--golden-rows", default=20, show_default=True, help="How many example rows are kept with their predictions."
)
@click.option("--describe", type=_FILE, help="YAML with any of name, version, postprocess, card, rowsIndependent.")
@click.option(
    "--kind", type=click.Choice(["classification", "regression", "boolean", "raw"]), help="What the model's output means."
)
@click.option("--from", "source", help="The output that is read, where the model has several.")
@click.option("--labels", help="Names of the classes, separated by commas.")
@click.option("--threshold", type=float, help="Score at which the second of two labels is given.")
@click.option("--activation", type=click.Choice(["softmax", "sigmoid"]), help="For models that answer with logits.")
@click.option("--fuse", is_flag=True, help="Also write fused.onnx: encoder and model in one graph.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(model: Path, out: Path, examples: Path | None, as_json: bool, **options: Any) -> None:
    """Make a bundle of MODEL (an ONNX file, with its external data beside it).

    The same inputs give the same bytes, so the digest names the content. Example rows are run through the whole bundle; what
    comes out is kept, and `verify` compares with it wherever the bundle goes.

    \b
    penstock bundle build model.onnx -o bundles/plain
    penstock bundle build model.onnx --features features.yaml --feature_repo feature_repo \\
        --examples examples.csv --describe bundle.draft.yaml -o bundles/flights-7
    """
    from penstock.features.reading import read_spec
    from penstock_cli.bundle.building import build
    from penstock_cli.table import read_table

    order = _order(model, options)
    with Progress("building") as progress:
        if examples is not None:
            progress.say("reading example rows")
            spec = read_spec(order.features.read_bytes()) if order.features is not None else None
            frame = read_table(examples, spec)
            if not len(frame):
                raise Failure(f"{examples}: no rows")
            order = _replace(order, examples=frame)
        bundle = build(order, out, say=progress.say)
    if as_json:
        click.echo(
            json.dumps(
                {"directory": str(out), "name": bundle.manifest.name, "version": bundle.manifest.version, "digest": bundle.digest}
            )
        )
        return
    click.echo(f"{out}: {bundle.label}")
    if bundle.manifest.model.rows_independent is False:
        click.echo("Rows of this model interact: requests are never batched together.", err=True)


def _order(model: Path, options: dict[str, Any]) -> Any:
    from penstock.features.document import read_document
    from penstock.features.parameters import Parameters
    from penstock_cli.bundle.building import Order

    describe: Path | None = options["describe"]
    p = Parameters(read_document(describe.read_bytes(), describe.name), describe.name) if describe else Parameters({}, "")
    order = Order(
        model=model,
        name=_name(p, "name", options["name"], model.resolve().parent.name if model.stem == "model" else model.stem),
        version=_name(p, "version", options["version"], "1"),
        features=options["features"],
        feature_repo=options["feature_repo"],
        golden_rows=options["golden_rows"],
        postprocess=_postprocess(p, options),
        card=p.mapping("card", {}).values,
        rows_independent=p.flag("rowsIndependent") if p.has("rowsIndependent") else None,
        fuse=options["fuse"],
    )
    p.done()
    return order


def _replace(order: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(order, **changes)


def _name(p: Any, field: str, given: str | None, default: str) -> str:
    from penstock.bundle.manifest_text import read_name
    from penstock.features.parameters import Parameters

    if given is not None:
        return read_name(Parameters({field: given}, ""), field)
    return read_name(p, field) if p.has(field) else read_name(Parameters({field: default}, ""), field)


def _postprocess(p: Any, options: dict[str, Any]) -> Any:
    from penstock.bundle.manifest_text import read_postprocess
    from penstock.features.parameters import Parameters

    fields = dict(p.mapping("postprocess").values) if p.has("postprocess") else {}
    given = {
        "kind": options["kind"],
        "from": options["source"],
        "threshold": options["threshold"],
        "activation": options["activation"],
    }
    fields |= {name: value for name, value in given.items() if value is not None}
    if options["labels"]:
        fields["labels"] = [label.strip() for label in options["labels"].split(",")]
    if "kind" not in fields:
        fields["kind"] = "classification" if fields.get("labels") else "raw"
    return read_postprocess(Parameters(fields, "postprocess"))
