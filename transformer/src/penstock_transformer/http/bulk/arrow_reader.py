"""Arrow streams as bulk bodies: the schema checked before any row is read, record batches as columns, never as Python rows.

nanoarrow reads the messages (docs/decisions/0010-arrow.md); it is imported when the first such body comes.
"""

import io
from collections.abc import Iterator
from typing import Any

from penstock.errors import InvalidInput, TooLarge
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
_READ = frozenset({"integer", "float", "bool", "text", "bytes", "time", "list", "null"})


class _Pipe(io.RawIOBase):
    """A file that holds the messages that the reader is to read next."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def put(self, message: bytes) -> None:
        self._bytes = self._bytes[self._at :] + message
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer).cast("B")
        part = self._bytes[self._at : self._at + len(room)]
        room[: len(part)] = part
        self._at += len(part)
        return len(part)


class ArrowReader:
    """Implements `RowReader`. `plan` None: the columns are a plain model's inputs, checked with their first rows."""

    unit = "row"

    def __init__(self, plan: FetchPlan | None, *, most_bytes: int) -> None:
        self._plan = plan
        self._messages = ArrowMessages(most_bytes=most_bytes)
        self._pipe = _Pipe()
        self._stream: Any = None
        self._names: list[str] = []
        self._rows = 0

    def feed(self, chunk: bytes) -> Iterator[Batch]:
        if self._messages.ended:
            raise InvalidInput("bytes behind the end of the Arrow stream", field="body")
        for kind, message in self._messages.feed(chunk):
            self._pipe.put(message)
            if kind is Kind.SCHEMA:
                self._open()
            elif self._stream is None:
                raise InvalidInput("expected a schema before anything else", field="body")
            elif kind is Kind.BATCH:
                yield from self._batches(self._read_batch(len(message)))

    def finish(self) -> Iterator[Batch]:
        if self._stream is None or self._messages.inside:
            raise InvalidInput("the Arrow stream ends before its schema or inside a message", field="body")
        return iter(())

    def _open(self) -> None:
        if self._stream is not None:
            raise InvalidInput("expected one schema, got another", field="body")
        import nanoarrow  # type: ignore[import-untyped]
        from nanoarrow.ipc import InputStream  # type: ignore[import-untyped]

        try:
            self._stream = nanoarrow.c_array_stream(InputStream.from_readable(self._pipe))
            # Names and formats are text of the sender's, and read only now.
            children = [(child.name, child.format, family_of(child)) for child in self._stream.get_schema().children]
        except Exception as error:
            raise _broken(error) from None
        self._names = [name for name, _, _ in children]
        self._check(children)

    def _check(self, children: list[tuple[str, str, str]]) -> None:
        """Refuse columns that the bundle does not have, or whose type cannot become its, before any row."""
        plan = self._plan
        for at, (name, form, family) in enumerate(children):
            if name in self._names[:at]:
                raise InvalidInput("this column is given twice", field=name)
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

    def _read_batch(self, size: int) -> Any:
        try:
            array = self._stream.get_next()
        except Exception as error:
            raise _broken(error) from None
        # A row takes a bit at least: rows that take nothing at all would make much work of few bytes.
        most = min(_MOST_ROWS, 8 * size)
        if array.length > most:
            raise TooLarge(f"expected record batches of at most {most} rows, got {array.length}", field="body")
        return array

    def _batches(self, array: Any) -> Iterator[Batch]:
        columns = [(name, array.child(at)) for at, name in enumerate(self._names)]
        for start in range(0, array.length, SLICE_ROWS):
            stop = min(start + SLICE_ROWS, array.length)
            values = {name: values_of(column, start, stop, name) for name, column in columns}
            numbers = list(range(self._rows + start, self._rows + stop))
            yield Batch(numbers=numbers, columns=values)
        self._rows += array.length


def _broken(error: Exception) -> InvalidInput:
    """The library's words without its function's name; a library's message holds nothing of ours."""
    text = str(error).rpartition(": ")[2] or "no message"
    return InvalidInput(f"the Arrow stream cannot be read: {text[:200]}", field="body")
