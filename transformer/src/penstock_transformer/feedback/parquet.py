"""Parquet files of logged rows and of outcomes. The one module here that knows pyarrow, imported when a file is read or written.

Invariant: a file appears whole or not at all (written aside, then renamed), and is never changed, only replaced.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from penstock.errors import UpstreamUnavailable
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.row import LogRow

_TIMES = {"clock": "time", "time": "at", "received": "received_at"}


class NoParquet(UpstreamUnavailable):
    """pyarrow is not installed here."""

    retryable = False


def arrow() -> tuple[Any, Any]:
    """pyarrow and its parquet module. Raises NoParquet with what has them."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise NoParquet("Parquet files need pyarrow, which the transformer's image with -feast has, and `penstock`") from None
    return pa, pq


def _schema(pa: Any, kind: type[Any]) -> Any:
    text, number, flag, small = pa.string(), pa.float64(), pa.bool_(), pa.int32()
    if kind is Outcome:
        return pa.schema(
            [("id", text), ("row", small), ("time", number), ("label", text), ("value", number), ("received", number)]
        )
    kinds = {str: text, float: number, bool: flag, int: small}
    return pa.schema([(name, kinds[_plain(hint)]) for name, hint in LogRow.__annotations__.items()])


def _plain(hint: Any) -> type[Any]:
    """`str` of `str | None`."""
    parts = [part for part in getattr(hint, "__args__", (hint,)) if part is not type(None)]
    found: type[Any] = parts[0]
    return found


def write_part(path: Path, rows: Sequence[LogRow] | Sequence[Outcome]) -> None:
    """Write a file of at least one row. `time`, where LogRow has `clock`, is the same for tools: a timestamp, UTC."""
    pa, pq = arrow()
    kind = type(rows[0])
    schema = _schema(pa, kind)
    table = pa.table({name: pa.array([getattr(row, name) for row in rows], schema.field(name).type) for name in schema.names})
    for name, shown in _TIMES.items():
        if name in schema.names:
            micros = [round(getattr(row, name) * 1e6) for row in rows]
            table = table.append_column(shown, pa.array(micros, pa.int64()).cast(pa.timestamp("us", "UTC")))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".writing")
    try:
        pq.write_table(table, aside, compression="zstd")
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.rename(path)
    except OSError:
        # It is tried again under another name: on a full disk what stayed would make it fuller.
        aside.unlink(missing_ok=True)
        raise


def read_rows(path: Path, *, whole: bool = True) -> list[LogRow]:
    """A file's logged rows, in its order; if not `whole`, `request` and `fetched`, most of a file, are not read: empty."""
    return [LogRow(*values) for values in _read(path, list(LogRow._fields), () if whole else ("request", "fetched"))]


def read_outcomes(path: Path) -> list[Outcome]:
    """A file's outcomes."""
    names = list(Outcome.__struct_fields__)
    return [Outcome(**dict(zip(names, values, strict=True))) for values in _read(path, names)]


def _read(path: Path, names: list[str], empty: Collection[str] = ()) -> Iterator[tuple[Any, ...]]:
    pa, pq = arrow()
    try:
        # Without the path's own `day=` as a column.
        file = pq.ParquetFile(path)
        there = [name for name in names if name in file.schema_arrow.names and name not in empty]
        table = file.read(columns=there)
    except pa.ArrowInvalid as error:
        raise UpstreamUnavailable(f"{path}: cannot be read: {error}"[:500]) from None
    # A file of an earlier release lacks the newest columns.
    absent, blank = [None] * table.num_rows, [""] * table.num_rows
    columns = (table.column(name).to_pylist() if name in there else blank if name in empty else absent for name in names)
    return zip(*columns, strict=True)


def ids_among(path: Path, wanted: Collection[str]) -> set[str]:
    """Which of these ids a file of logged rows holds; reads that column alone."""
    pa, pq = arrow()
    import pyarrow.compute as pc

    column = pq.ParquetFile(path).read(columns=["id"]).column("id")
    found = column.filter(pc.is_in(column, value_set=pa.array(list(wanted), pa.string())))
    return set(found.to_pylist())
