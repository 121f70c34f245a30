"""Arrow's schema and record batches out of their messages, without a byte copied and without a byte trusted.

    metadata (flatbuffer) -> ArrowField | nodes and buffers -> ArrowColumn over slices of the body

Source: Apache Arrow, Schema.fbs and Message.fbs, "Recordbatch message". Of the types those that a row may be made of; any other
keeps its place as a format in brackets, and is refused by whoever asks. Formats are spelled as in Arrow's C data interface.
"""

from dataclasses import dataclass, field

from penstock_transformer.http.bulk.flatbuffer import Table

_PLAIN = {1: "n", 4: "z", 5: "u", 6: "b", 12: "+l", 19: "Z", 20: "U", 21: "+L"}
_INTEGERS = {(8, 1): "c", (8, 0): "C", (16, 1): "s", (16, 0): "S", (32, 1): "i", (32, 0): "I", (64, 1): "l", (64, 0): "L"}
_INT, _FLOAT, _DATE, _TIMESTAMP, _FIXED_LIST = 2, 3, 8, 10, 16
_BUFFERS = {"n": 0, "u": 3, "U": 3, "z": 3, "Z": 3, "+l": 2, "+L": 2}


@dataclass(slots=True)
class ArrowField:
    """A column of the schema. `dictionary` is what its indices stand for, `key` the dictionary's id."""

    name: str
    format: str
    children: list["ArrowField"] = field(default_factory=list)
    dictionary: "ArrowField | None" = None
    key: int = 0


@dataclass(slots=True)
class ArrowColumn:
    """A column of a batch: `buffers` are slices of the body, in the order of Arrow's layout of the type."""

    schema: ArrowField
    length: int
    null_count: int
    buffers: list[memoryview]
    children: list["ArrowColumn"] = field(default_factory=list)
    dictionary: "ArrowColumn | None" = None


def read_schema(metadata: bytes) -> list[ArrowField]:
    """The columns of a schema message. Raises struct.error or ValueError where it is broken."""
    schema = Table(metadata, 0).table(2)
    if schema is None or schema.scalar(0, "<h") != 0:
        raise ValueError("expected a little-endian schema")
    return [_field(one) for one in schema.tables(1)]


def read_batch(
    metadata: bytes, body: memoryview, fields: list[ArrowField], known: dict[int, ArrowColumn]
) -> tuple[int, list[ArrowColumn]]:
    """Rows and columns of a record batch message."""
    batch = Table(metadata, 0).table(2)
    if batch is None:
        raise ValueError("empty message")
    return _Batch(batch, body, known).read(fields)


def read_dictionary(metadata: bytes, body: memoryview, fields: list[ArrowField], known: dict[int, ArrowColumn]) -> int:
    """Take a dictionary message into `known`, and give its id. A dictionary that only adds to one that is there is refused."""
    message = Table(metadata, 0).table(2)
    batch = None if message is None else message.table(1)
    if message is None or batch is None:
        raise ValueError("empty message")
    if message.scalar(2, "<B"):
        raise ValueError("expected whole dictionaries, not additions to one")
    key = message.scalar(0, "<q")
    values = _dictionary_of(fields, key)
    if values is None:
        raise ValueError("a dictionary that no column asks for")
    known[key] = _Batch(batch, body, known).read([values])[1][0]
    return key


def _dictionary_of(fields: list[ArrowField], key: int) -> ArrowField | None:
    for one in fields:
        if one.dictionary is not None and one.key == key:
            return one.dictionary
        found = _dictionary_of([*one.children, *([one.dictionary] if one.dictionary else [])], key)
        if found is not None:
            return found
    return None


def _field(table: Table) -> ArrowField:
    made = ArrowField(table.text(0), _format(table.scalar(2, "<B"), table.table(3)), [_field(one) for one in table.tables(5)])
    encoding = table.table(4)
    if encoding is None:
        return made
    index = encoding.table(1)
    form = "i" if index is None else _format(_INT, index)
    return ArrowField(made.name, form, dictionary=made, key=encoding.scalar(0, "<q"))


def _format(kind: int, table: Table | None) -> str:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if table is not None and kind == _INT:
        return _INTEGERS.get((table.scalar(0, "<i"), table.scalar(1, "<B")), "[int]")
    if table is not None and kind == _FLOAT:
        return {0: "e", 1: "f", 2: "g"}.get(table.scalar(0, "<h"), "[float]")
    if table is not None and kind == _DATE:
        return {0: "tdD", 1: "tdm"}.get(table.scalar(0, "<h", 1), "[date]")
    if table is not None and kind == _TIMESTAMP:
        return {0: "tss:", 1: "tsm:", 2: "tsu:", 3: "tsn:"}.get(table.scalar(0, "<h"), "[timestamp]")
    if table is not None and kind == _FIXED_LIST:
        return f"+w:{table.scalar(0, '<i')}"
    return f"[type {kind}]"


class _Batch:
    """Takes nodes and buffers in the order of the schema's columns, depth first."""

    def __init__(self, batch: Table, body: memoryview, known: dict[int, ArrowColumn]) -> None:
        self._length = batch.scalar(0, "<q")
        self._nodes = iter(batch.pairs(1))
        self._buffers = iter(batch.pairs(2))
        self._body = body
        # Buffers lie beside each other: columns that shared one would make much work of few bytes.
        self._left = len(body)
        self._known = known

    def read(self, fields: list[ArrowField]) -> tuple[int, list[ArrowColumn]]:
        columns = [self._column(one) for one in fields]
        if self._length < 0 or any(column.length != self._length for column in columns):
            raise ValueError("columns of different lengths")
        return self._length, columns

    def _column(self, one: ArrowField) -> ArrowColumn:
        length, nulls = next(self._nodes, (-1, 0))
        if length < 0:
            raise ValueError("too few columns")
        count = 1 if one.format.startswith("+w:") else _BUFFERS.get(one.format, 2)
        column = ArrowColumn(one, length, nulls, [self._buffer() for _ in range(count)])
        column.children = [self._column(child) for child in one.children]
        if one.dictionary is not None:
            column.dictionary = self._known.get(one.key)
            if column.dictionary is None:
                raise ValueError("a dictionary that has not been sent")
        return column

    def _buffer(self) -> memoryview:
        offset, length = next(self._buffers, (-1, 0))
        if offset < 0 or length < 0 or offset + length > len(self._body):
            raise ValueError("a buffer outside the body")
        self._left -= length
        if self._left < 0:
            raise ValueError("buffers that lie over each other")
        return self._body[offset : offset + length]
