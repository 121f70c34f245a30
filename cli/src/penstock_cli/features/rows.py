"""Rows on their way into a view: from a CSV file or an SQL query, with the line they came from, to `RowWrite`s or reasons.

CsvRows / SqlRows -> SourceRow (line, cells) -> RowReader.read -> RowWrite, or Rejected (a reason)
"""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from penstock.errors import InvalidInput
from penstock_cli.features.cells import cell_value, moment
from penstock_cli.features.registry import ViewDefinition
from penstock_transformer.store.entity_keys import EntityKeyCodec
from penstock_transformer.store.port import RowWrite
from penstock_transformer.store.value_types import value_type
from penstock_transformer.store.value_writing import write_value

_FETCHED_AT_ONCE = 1000
_LONGEST_CELL = 64 << 20


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row: its line in the file (or its number in the answer), its cells, and how far into the file it ends, in bytes."""

    line: int
    cells: list[Any]
    position: int = 0


class Source(Protocol):
    """Where rows come from. `identity` changes when the rows do; `repeatable`: reading again gives the same rows in order."""

    label: str
    header: list[str]
    identity: str
    repeatable: bool
    size: int | None

    def rows(self) -> Iterator[SourceRow]: ...


class CsvRows:
    """A CSV file with a header line, in UTF-8."""

    repeatable = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self.label = str(path)
        stat = path.stat()
        self.size: int | None = stat.st_size
        self.identity = hashlib.sha256(f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}".encode()).hexdigest()
        csv.field_size_limit(_LONGEST_CELL)
        with self._open() as file:
            self.header = self._next(csv.reader(file)) or []
        if not self.header:
            raise InvalidInput("expected a header line with the names of the columns", field=self.label)

    def _open(self) -> Any:
        # What is not UTF-8 becomes surrogates, which no value may hold: the row is rejected, not the file.
        return self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")

    def _next(self, reader: Any) -> list[str] | None:
        """The next row's cells, None after the last. Raises InvalidInput naming the line where the file stops being CSV."""
        begin = reader.line_num + 1
        try:
            cells: list[str] | None = next(reader, None)
        except csv.Error as error:
            raise InvalidInput(f"not CSV: {error}; is a quote left open?", field=f"{self.label} line {begin}") from None
        return cells

    def rows(self) -> Iterator[SourceRow]:
        """Rows behind the header. Blank lines are passed over. Raises InvalidInput where the file stops being CSV."""
        with self._open() as file:
            reader = csv.reader(_Counted(file))
            self._next(reader)
            lines = reader.line_num
            while (cells := self._next(reader)) is not None:
                line, lines = lines + 1, reader.line_num
                if cells:
                    yield SourceRow(line, cells, file.buffer.tell())


class _Counted:
    """A text file's lines by plain iteration: `tell` of its buffer stays usable."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.readline, "")


class SqlRows:
    """The answer to a query, fetched as it is read. It can be resumed only if the query orders its rows."""

    size: int | None = None

    def __init__(self, query: str, connection: str) -> None:
        import sqlalchemy

        self._query = query
        self.label = "--sql"
        self.identity = hashlib.sha256(f"{connection}\0{query}".encode()).hexdigest()
        self.repeatable = "order by" in " ".join(query.lower().split())
        try:
            self._engine = sqlalchemy.create_engine(connection)
            with self._engine.connect() as opened:
                self.header = list(opened.execution_options(stream_results=True).execute(sqlalchemy.text(query)).keys())
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            raise InvalidInput(str(error).split("\n")[0], field="--sql") from None

    def rows(self) -> Iterator[SourceRow]:
        """Rows in the order of the answer."""
        import sqlalchemy

        try:
            with self._engine.connect() as opened:
                answer = opened.execution_options(stream_results=True).execute(sqlalchemy.text(self._query))
                number = 0
                while chunk := answer.fetchmany(_FETCHED_AT_ONCE):
                    for row in chunk:
                        number += 1
                        yield SourceRow(number, list(row))
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise InvalidInput(str(error).split("\n")[0], field="--sql") from None
        finally:
            self._engine.dispose()


class Rejected(Exception):
    """A row that does not fit the definition; the message is the reason."""


class RowReader:
    """Rows of one view. `event_time`: what a source without a time column is as of, in epoch seconds.

    Raises InvalidInput if the source lacks a column or has it twice: a wrong file is one mistake, not one per row.
    """

    def __init__(self, view: ViewDefinition, source: Source, event_time: float | None, serialization: int) -> None:
        place_of = {view.renames.get(name, name): place for place, name in enumerate(source.header)}
        self._width = len(source.header)
        self._view = view.name
        self._codec = EntityKeyCodec(view.layout.keys, serialization, view.name)
        needed = [*view.layout.keys, *view.layout.values]
        missing = [name for name in needed if name not in place_of]
        if missing:
            got = ", ".join(source.header)
            raise InvalidInput(f"no column {missing[0]!r}; expected {', '.join(needed)}, got {got}", field=source.label)
        named = [view.renames.get(name, name) for name in source.header]
        if twice := [name for name in [*needed, view.timestamp_field or ""] if named.count(name) > 1]:
            raise InvalidInput(f"{named.count(twice[0])} columns are called {twice[0]!r}; expected one", field=source.label)
        self._keys = [(name, place_of[name], value_type(kind, name)) for name, kind in view.layout.keys.items()]
        self._values = [(name, place_of[name], value_type(kind, name)) for name, kind in view.layout.values.items()]
        self._event_time = event_time
        self._time_place = place_of.get(view.timestamp_field or "")
        if self._time_place is None and event_time is None:
            wanted = view.timestamp_field or "of a time"
            raise InvalidInput(f"no column {wanted!r}; say with --event-time as of when these rows are", field=source.label)

    def read(self, row: SourceRow) -> RowWrite:
        """The row as the store takes it. Raises Rejected with the column and what was expected."""
        cells = row.cells
        if len(cells) != self._width:
            raise Rejected(f"expected {self._width} columns, got {len(cells)}")
        key = tuple([self._cell(name, cells[place], kind, required=True) for name, place, kind in self._keys])
        values = {name: self._cell(name, cells[place], kind) for name, place, kind in self._values}
        write = RowWrite(self._view, key, values, self._time(cells))
        try:
            self._codec.encode([key])
        except InvalidInput as error:
            raise Rejected(str(error).removeprefix("keys[0].")) from None
        return write

    def _cell(self, name: str, cell: Any, kind: Any, *, required: bool = False) -> Any:
        try:
            value = cell_value(cell, kind)
            write_value(value, kind, name)
        except (ValueError, OverflowError) as error:
            raise Rejected(f"{name}: {error}, got {str(cell)[:60]!r}") from None
        except InvalidInput as error:
            raise Rejected(str(error)) from None
        if value is None and required:
            raise Rejected(f"{name}: a key may not be empty")
        return value

    def _time(self, cells: list[Any]) -> float:
        cell = cells[self._time_place] if self._time_place is not None else None
        if cell is None or cell == "":
            if self._event_time is None:
                raise Rejected("the event time is empty")
            return self._event_time
        try:
            return moment(cell)
        except ValueError as error:
            raise Rejected(f"event time: {error}, got {str(cell)[:60]!r}") from None
