"""`penstock features training-set`: rows with times and labels, joined as of their times, through the encoder that will serve."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.features.spec import FeatureSpec
from penstock.features.values import column_of
from penstock.tensors import Array
from penstock_cli.errors import Command, Failure
from penstock_cli.features.repository import open_repository
from penstock_cli.progress import Progress
from penstock_cli.text_file import read_text


@click.command("training-set", cls=Command)
@click.option(
    "--spec",
    "spec_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default="features.yaml",
    help="The feature spec [features.yaml].",
)
@click.option(
    "--rows", "rows_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="CSV, Parquet or JSON lines."
)
@click.option("--sql", "query", help="An SQL query for the rows; needs --connection.")
@click.option("--connection", help="The database of --sql, as an SQLAlchemy URL.")
@click.option("--time", default="event_timestamp", help="The column with each row's time. [event_timestamp]")
@click.option("--label", "labels", multiple=True, help="A column to keep as it is, usually what the model learns.")
@click.option("--repo", type=click.Path(path_type=Path, file_okay=False), default=".", help="The Feast repository [this folder].")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A .npz or .parquet file.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    spec_file: Path,
    rows_file: Path | None,
    query: str | None,
    connection: str | None,
    time: str,
    labels: tuple[str, ...],
    repo: Path,
    out: Path,
    as_json: bool,
) -> None:
    """Make arrays ready to fit. The rows bring request features, entity keys, times and labels.

    Stored features come as they were known at each row's time (nothing later, nothing older than the spec's maxAge), and the
    spec's encoder makes the model's inputs of them.

    Rows that serving would refuse (a value that is missing though the spec says reject) are left out and counted.
    """
    _check_usage(rows_file, query, connection, out)
    repository = open_repository(repo)
    spec = read_spec(read_text(spec_file))
    with Progress("training set") as step:
        step.say("reading rows")
        from penstock_cli.table import read_query, read_table

        frame = read_table(rows_file, None) if rows_file else read_query(query or "", connection or "")
        missing = [name for name in labels if name not in frame.columns]
        if missing:
            raise InvalidInput(f"the rows have no column {missing[0]!r}", field="--label")
        step.say("importing Feast")
        from penstock_cli.features.joining import PointInTime
        from penstock_cli.features.registry import open_feast

        store = open_feast(repository.path)
        step.say(f"joining {len(frame):,} rows")
        joined = PointInTime(store, spec, frame, time)
        columns, kept = usable(spec, joined.values(), len(frame))
        if not kept.any():
            raise Failure("no row has all the values that the spec does not allow to be missing")
        step.say("encoding")
        arrays: dict[str, Array] = dict(Encoder.compiled(spec).encode(columns))
    for name in labels:
        arrays[name] = _label(frame[name].to_numpy()[kept])
    # numpy knows no zones: times as seconds since the epoch, like everywhere here.
    arrays["event_time"] = joined.times.to_numpy(dtype="datetime64[us]")[kept].astype(np.int64) / 1e6
    write_arrays(out, arrays)
    _tell(out, int(kept.sum()), int((~kept).sum()), {name: list(array.shape) for name, array in arrays.items()}, as_json)


def _check_usage(rows_file: Path | None, query: str | None, connection: str | None, out: Path) -> None:
    if (rows_file is None) == (query is None):
        raise click.UsageError("give one of --rows FILE and --sql QUERY")
    if query is not None and not connection:
        raise click.UsageError("--sql needs --connection")
    if out.suffix not in (".npz", ".parquet"):
        raise click.UsageError("--out ends in .npz or .parquet")


def _tell(out: Path, rows: int, left_out: int, shapes: dict[str, list[int]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"rows": rows, "left_out": left_out, "out": str(out), "arrays": shapes}))
        return
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    click.echo(f"{out}: {rows:,} rows ({listed}), {left_out:,} left out for missing values")


def usable(spec: FeatureSpec, values: dict[str, list[Any]], rows: int) -> tuple[dict[str, Column], Any]:
    """Columns of the rows that serving would not refuse, and which those are, bool `[rows]`."""
    columns = {f.name: column_of(values[f.name], f.type, f.name, length=f.length) for f in spec.features}
    kept = np.ones(rows, np.bool_)
    for feature in spec.features:
        if feature.missing.policy == "reject":
            kept &= ~columns[feature.name].missing
    return {name: Column(column.values[kept], column.missing[kept]) for name, column in columns.items()}, kept


def _label(values: Array) -> Array:
    return values.astype(str) if values.dtype == object else values


def write_arrays(out: Path, arrays: dict[str, Array]) -> None:
    """The arrays under their names; in Parquet, what has more than one number a row is a column of lists."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        np.savez(out, **arrays)  # type: ignore[arg-type]
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        name: pa.array(array)
        if array.ndim == 1
        else pa.FixedSizeListArray.from_arrays(array.reshape(-1), int(np.prod(array.shape[1:])))
        for name, array in arrays.items()
    }
    pq.write_table(pa.table(columns), out)
