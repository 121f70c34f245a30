"""A view's history: the local Parquet file that point-in-time joins read, and the rows that a load adds to it.

    rows loaded -> parts (one file each, while loading) -> merge -> the history, each (key, event time) once

The online store keeps a key's newest values, a training set needs the older ones too. The first row of a (key, event time) stays,
as it does online, so loading the same rows again changes nothing; then the file is not even written.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.errors import InvalidInput
from penstock_cli.features.registry import ViewDefinition
from penstock_transformer.store.port import RowWrite
from penstock_transformer.store.value_types import ValueType, value_type

_ARROW: dict[str, Any] = {
    "bytes": pa.binary(),
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "float": pa.float32(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "zoned": pa.timestamp("us", tz="UTC"),
}
_MICROS = 1_000_000


class History:
    """The history of `view` in `path`; parts wait in `folder`."""

    def __init__(self, view: ViewDefinition, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._view = view
        self._time = view.timestamp_field or "event_timestamp"
        self._sources = {feature: column for column, feature in view.renames.items()}
        self._types = {name: value_type(kind, name) for name, kind in (view.layout.keys | view.layout.values).items()}
        fields = [pa.field(self._sources.get(name, name), _arrow(kind)) for name, kind in self._types.items()]
        self._schema = pa.schema([*fields, pa.field(self._time, _ARROW["timestamp"])])

    def add(self, rows: Sequence[RowWrite], number: int) -> None:
        """Keep rows as part `number`."""
        if not rows:
            return
        columns = [
            [_plain(row.key[place], self._types[name]) for row in rows] for place, name in enumerate(self._view.layout.keys)
        ]
        columns += [[_plain(row.values[name], self._types[name]) for row in rows] for name in self._view.layout.values]
        columns.append([round(row.event_time * _MICROS) for row in rows])
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._write(pa.Table.from_arrays(arrays, schema=self._schema), self._folder / f"part-{number:06}.parquet")

    def merge(self) -> int:
        """Put the parts into the history, and remove them; the number of rows that are new."""
        parts = sorted(self._folder.glob("part-*.parquet"))
        added = 0
        if parts:
            tables = [pq.read_table(part) for part in parts]
            before = 0
            if self._path.exists():
                held = self._held()
                before = held.num_rows
                tables.insert(0, held)
            table = pa.concat_tables(tables)
            keys = [self._sources.get(name, name) for name in self._view.layout.keys]
            fresh = ~table.select([*keys, self._time]).to_pandas().duplicated(keep="first").to_numpy()
            # Rows that were there stay as they were, even ones that a hand wrote twice.
            fresh[:before] = True
            added = int(fresh[before:].sum())
            if added:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._write(table.filter(pa.array(fresh)), self._path)
        for part in parts:
            part.unlink()
        return added

    def _held(self) -> Any:
        """The history as the view is now: a feature that is new to it has no values yet. Raises InvalidInput naming a column that
        cannot be of its new type.
        """
        held, columns = pq.read_table(self._path), []
        for field in self._schema:
            try:
                known = field.name in held.column_names
                columns.append(held[field.name].cast(field.type) if known else pa.nulls(held.num_rows, field.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                text = (
                    f"{self._path} holds values that are no {field.type}: {str(error)[:200]}; move the file away to begin it anew"
                )
                raise InvalidInput(text, field=field.name) from None
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _write(self, table: Any, path: Path) -> None:
        """Whole or not at all."""
        part = path.with_name(f".{path.name}.writing")
        pq.write_table(table, part)
        os.replace(part, path)


def _arrow(kind: ValueType) -> Any:
    if kind.form == "scalar":
        return _ARROW[kind.kind]
    if kind.form == "list":
        return pa.list_(_ARROW[kind.kind])
    # Maps and nested lists as JSON text: what a file source can hold of them.
    return pa.string()


def _plain(value: Any, kind: ValueType) -> Any:
    if value is None:
        return None
    if kind.kind in ("timestamp", "zoned"):
        if kind.form == "list":
            return [round(item * _MICROS) for item in value]
        return round(value * _MICROS)
    if kind.form in ("scalar", "list"):
        return value
    import json

    return json.dumps(value)
