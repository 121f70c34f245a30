"""`penstock bundle show`: what a bundle is, without running it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock_cli.errors import Command

if TYPE_CHECKING:
    from penstock.bundle.reading import Bundle


@click.command("show", cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(bundle: Path, as_json: bool) -> None:
    """Show BUNDLE: name, digest, the model's tensors, features with source and encoding, files."""
    from penstock.bundle.reading import open_bundle

    shown = describe(open_bundle(bundle))
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    for line in _lines(shown):
        click.echo(line)


def describe(bundle: "Bundle") -> dict[str, Any]:
    """A bundle as JSON values."""
    from penstock.bundle.manifest_text import postprocess_fields

    manifest = bundle.manifest
    shown: dict[str, Any] = {
        "name": manifest.name,
        "version": manifest.version,
        "digest": bundle.digest,
        "inputs": [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in manifest.model.inputs],
        "outputs": [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in manifest.model.outputs],
        "rowsIndependent": manifest.model.rows_independent,
        "postprocess": postprocess_fields(manifest.postprocess),
        "card": manifest.card,
        "files": {name: entry.bytes for name, entry in manifest.files.items()},
    }
    if bundle.features is not None:
        shown["features"] = [
            {
                "name": feature.name,
                "from": "request" if feature.set is None else f"{feature.set}.{feature.column}",
                "type": feature.type,
                "missing": {"default": feature.missing.default}
                if feature.missing.policy == "default"
                else feature.missing.policy,
                "encode": [step.kind for step in feature.encode] or ["passthrough"],
            }
            for feature in bundle.features.features
        ]
        shown["tensors"] = {name: list(parts) for name, parts in bundle.features.tensors.items()}
    return shown


def _lines(shown: dict[str, Any]) -> list[str]:
    lines = [f"{shown['name']} {shown['version']}", f"  digest   {shown['digest']}"]
    for kind in ("inputs", "outputs"):
        lines += [f"  {kind[:-1]:<8} {t['name']}: {t['datatype']} {t['shape']}" for t in shown[kind]]
    lines.append(f"  rows     {'independent' if shown['rowsIndependent'] else 'not known to be independent: never batched'}")
    lines.append(f"  answer   {', '.join(f'{name} {value}' for name, value in shown['postprocess'].items())}")
    lines += [f"  {name:<8} {value}" for name, value in shown["card"].items()]
    features = shown.get("features", [])
    if features:
        wide = [max(len(str(feature[key])) for feature in features) for key in ("name", "from", "type")]
        lines.append("features")
        for feature in features:
            cells = [f"{feature[key]:<{width}}" for key, width in zip(("name", "from", "type"), wide, strict=True)]
            missing = feature["missing"]
            policy = f"default {missing['default']!r}" if isinstance(missing, dict) else missing
            lines.append(f"  {'  '.join(cells)}  missing: {policy}; {' > '.join(feature['encode'])}")
    lines.append("files")
    lines += [f"  {size:>12,}  {name}" for name, size in shown["files"].items()]
    return lines
