"""Arrow streams as bulk bodies: the schema checked before any row is read, record batches as columns, never as Python rows.

No library reads them: those that were tried crash the process on damaged streams (docs/decisions/0010-arrow.md).
"""

import struct
from collections.abc import Iterator

from penstock.errors import InvalidInput, TooLarge
from penstock_transformer.http.bulk.arrow_batches import ArrowColumn, ArrowField, read_batch, read_dictionary, read_schema
from penstock_transformer.http.bulk.arrow_columns import family_of, values_of
from penstock_transformer.http.bulk.arrow_messages import ArrowMessages, Kind
from penstock_transformer.http.bulk.batch import Batch
from penstock_transformer.nearest import did_you_mean
from penstock_transformer.plan import FetchPlan

SLICE_ROWS = 1024
"""Rows of a record batch that are predicted together: a batch of a million rows must not stop everybody else."""
_MOST_ROWS = 1 << 20

_NUMERIC = frozenset({"integer", "float"})
_FITTING = {
    "string": frozenset({"text"}),
    "bool": frozenset({"bool"}),
    "int32": frozenset({"integer"}),
    "int64": frozenset({"integer"}),
    "float32": _NUMERIC,
    "float64": _NUMERIC,
    "timestamp": _NUMERIC | {"time", "text"},
    "image": frozenset({"bytes", "text"}),
    "unix_timestamp": _NUMERIC | {"time", "text"},
    "float": _NUMERIC,
    "double": _NUMERIC,
    "bytes": frozenset({"bytes"}),
}
_BROKEN = (ValueError, struct.error)
_READ = frozenset({"integer", "float", "bool", "text", "bytes", "time", "list", "null"})


class ArrowReader:
    """Implements `RowReader`. `plan` None: the columns are a plain model's inputs, checked with their first rows."""

    unit = "row"

    def __init__(self, plan: FetchPlan | None, *, most_bytes: int) -> None:
        self._plan = plan
        self._messages = ArrowMessages(most_bytes=most_bytes)
        self._most_bytes = most_bytes
        self._fields: list[ArrowField] | None = None
        self._dictionaries: dict[int, ArrowColumn] = {}
        self._dictionary_bytes: dict[int, int] = {}
        self._names: list[str] = []
        self._rows = 0

    def feed(self, chunk: bytes) -> Iterator[Batch]:
        if self._messages.ended:
            raise InvalidInput("bytes behind the end of the Arrow stream", field="body")
        for kind, metadata, body in self._messages.feed(chunk):
            if kind is Kind.SCHEMA:
                self._open(metadata)
            elif kind is not Kind.END and self._fields is None:
                raise InvalidInput("expected a schema before anything else", field="body")
            elif kind is Kind.BATCH:
                yield from self._batches(metadata, body)
            elif kind is Kind.DICTIONARY:
                self._keep(metadata, body)

    def finish(self) -> Iterator[Batch]:
        if self._fields is None or self._messages.inside:
            raise InvalidInput("the Arrow stream ends before its schema or inside a message", field="body")
        return iter(())

    def _open(self, metadata: bytes) -> None:
        if self._fields is not None:
            raise InvalidInput("expected one schema, got another", field="body")
        try:
            fields = read_schema(metadata)
        except _BROKEN as error:
            raise _broken(error) from None
        self._names = [one.name for one in fields]
        self._check([(one.name, one.format, family_of(one)) for one in fields])
        self._fields = fields

    def _keep(self, metadata: bytes, body: memoryview) -> None:
        try:
            key = read_dictionary(metadata, body, self._fields or [], self._dictionaries)
        except _BROKEN as error:
            raise _broken(error) from None
        # The values are in slices of the message, which lives as long as they do: together no more than one message may be.
        self._dictionary_bytes[key] = body.nbytes
        if sum(self._dictionary_bytes.values()) > self._most_bytes:
            raise TooLarge(f"expected dictionaries of at most {self._most_bytes} bytes together", field="body")

    def _check(self, children: list[tuple[str, str, str]]) -> None:
        """Refuse columns that the bundle does not have, or whose type cannot become its, before any row."""
        plan = self._plan
        seen: set[str] = set()
        for name, form, family in children:
            if name in seen:
                raise InvalidInput("this column is given twice", field=name)
            seen.add(name)
            if family not in _READ:
                raise InvalidInput(f"columns of the Arrow format {form!r} are not read here", field=name)
            if plan is None:
                continue
            wanted = plan.column_types.get(name)
            if wanted is None:
                raise InvalidInput(f"unknown feature; {did_you_mean(name, plan.accepted)}", field=name)
            fitting = frozenset({"list"}) if wanted.startswith("list<") else _FITTING.get(wanted, _READ)
            if family not in fitting and family != "null":
                raise InvalidInput(f"expected a column of {wanted}, got one of {family}", field=name)
        if plan is not None:
            for feature in plan.requested:
                if feature.missing.policy == "reject" and feature.column not in {*self._names, *plan.fills}:
                    raise InvalidInput(f"missing; expected a column of {feature.type}", field=feature.column)

    def _batches(self, metadata: bytes, body: memoryview) -> Iterator[Batch]:
        try:
            rows, found = read_batch(metadata, body, self._fields or [], self._dictionaries)
        except _BROKEN as error:
            raise _broken(error) from None
        # A row takes a bit at least: rows that take nothing at all would make much work of few bytes.
        most = min(_MOST_ROWS, 8 * (len(metadata) + len(body)))
        if rows > most:
            raise TooLarge(f"expected record batches of at most {most} rows, got {rows}", field="body")
        columns = list(zip(self._names, found, strict=True))
        for start in range(0, rows, SLICE_ROWS):
            stop = min(start + SLICE_ROWS, rows)
            values = {name: values_of(column, start, stop, name) for name, column in columns}
            yield Batch(numbers=list(range(self._rows + start, self._rows + stop)), columns=values)
        self._rows += rows


def _broken(error: Exception) -> InvalidInput:
    return InvalidInput(f"the Arrow stream cannot be read: {error or 'its metadata is broken'}", field="body")
