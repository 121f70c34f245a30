"""`penstock bundle run`: rows in, predictions out, in this process; stored features must be in the rows."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from penstock_cli.errors import Command, Failure
from penstock_cli.progress import Progress

_BATCH = 1024
# Of rows that are run with every label.
_LABELLED_BATCH = 64


@click.command("run", cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("rows", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option("--format", "kind", type=click.Choice(["json", "csv"]), help="Form of standard input; default: json.")
@click.option("--limit", type=click.IntRange(min=1), help="Predict at most this many rows.")
@click.option("--labels", help="Labels to judge the rows by, separated by commas, for a zero-shot bundle.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list instead of a line a prediction.")
def command(bundle: Path, rows: Path, kind: str | None, limit: int | None, labels: str | None, as_json: bool) -> None:
    """Predict ROWS (.csv, .parquet, .jsonl, or - for standard input) with BUNDLE. No server, no feature store: every feature is
    read from the rows.

    \b
    echo '{"distance": 500, "carrier": "AA"}' | penstock bundle run bundles/flights-7
    penstock bundle run bundles/flights-7 examples.csv --limit 5
    """
    from penstock.bundle.reading import open_bundle
    from penstock_cli.bundle.examples import predict_frame
    from penstock_cli.bundle.verifying import open_pipeline

    with Progress("predicting") as progress:
        progress.say("opening the bundle")
        opened = open_bundle(bundle)
        pipeline = open_pipeline(opened)
        frame = _read(rows, kind, opened.features, limit)
        predictions: list[dict[str, Any]] = []
        named = [label.strip() for label in labels.split(",")] if labels else None
        batch = _BATCH if pipeline.zero_shot is None else _LABELLED_BATCH
        for start in range(0, len(frame), batch):
            progress.say(f"row {start} of {len(frame)}")
            predictions += predict_frame(pipeline, frame.iloc[start : start + batch].reset_index(drop=True), named)
    if as_json:
        click.echo(json.dumps({"bundle": opened.label, "predictions": predictions}, ensure_ascii=False))
        return
    for prediction in predictions:
        click.echo(json.dumps(prediction, ensure_ascii=False))


def _read(rows: Path, kind: str | None, spec: Any, limit: int | None) -> Any:
    import pandas as pd

    from penstock_cli.table import read_lines, read_table, typed

    if str(rows) != "-":
        if not rows.is_file():
            raise Failure(f"{rows}: no such file")
        return read_table(rows, spec, limit=limit)
    text = sys.stdin.read()
    if kind == "csv":
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, nrows=limit)
        return typed(frame, spec)
    found = read_lines(text, "standard input", limit)
    names = [feature.name for feature in spec.features] if spec is not None else list(found[0]) if found else []
    return pd.DataFrame({name: pd.Series([row.get(name) for row in found], dtype=object) for name in names})
