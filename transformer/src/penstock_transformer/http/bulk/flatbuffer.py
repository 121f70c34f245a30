"""Reading of flatbuffers, as far as Arrow's metadata needs it: tables, vectors, strings and scalars by their place.

Everything goes through `struct.unpack_from` and slices of bytes, so that a reference that leads outside is an error and never a
read outside. References may also lead many times to one place: what is read of one message, all together, has a limit, or a few
bytes would unfold into more tables and text than there is memory. Source: FlatBuffers, "Internals": offsets are relative, a
table begins with the way back to its vtable.
"""

import struct

_DEEPEST = 64
_MOST_TABLES = 1 << 16


class Table:
    """A table inside `data`. Raises struct.error or ValueError for whatever does not fit into it."""

    __slots__ = ("_at", "_data", "_depth", "_fields", "_left")

    def __init__(self, data: bytes, reference: int, above: "Table | None" = None) -> None:
        self._depth: int = 0 if above is None else above._depth + 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deeply")
        # Tables, and bytes of text, that may still be read: one count for all that hangs together.
        self._left: list[int] = [_MOST_TABLES, len(data)] if above is None else above._left
        self._spend(0, 1)
        self._data = data
        self._at = reference + _number(data, "<I", reference)
        self._fields = self._at - _number(data, "<i", self._at)

    def place(self, field: int) -> int:
        """Where a field is, 0 if it is left out."""
        at = 4 + 2 * field
        if at + 2 > _number(self._data, "<H", self._fields):
            return 0
        offset = _number(self._data, "<H", self._fields + at)
        return self._at + offset if offset else 0

    def scalar(self, field: int, form: str, default: int = 0) -> int:
        """A number; `form` is struct's."""
        at = self.place(field)
        return _number(self._data, form, at) if at else default

    def table(self, field: int) -> "Table | None":
        at = self.place(field)
        return Table(self._data, at, self) if at else None

    def text(self, field: int) -> str:
        """A string, empty if it is left out."""
        at = self.place(field)
        if not at:
            return ""
        at += _number(self._data, "<I", at)
        length = _number(self._data, "<I", at)
        self._spend(1, length)
        raw = self._data[at + 4 : at + 4 + length]
        if len(raw) != length:
            raise ValueError("too short")
        return raw.decode()

    def tables(self, field: int) -> list["Table"]:
        """A vector of tables."""
        start, count = self._vector(field, 4)
        return [Table(self._data, start + 4 * at, self) for at in range(count)]

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """A vector of structs of two 64-bit numbers."""
        start, count = self._vector(field, 16)
        return list(struct.iter_unpack("<qq", self._data[start : start + 16 * count]))

    def _spend(self, what: int, much: int) -> None:
        self._left[what] -= much
        if self._left[what] < 0:
            raise ValueError("more in it than there are bytes for")

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        at = self.place(field)
        if not at:
            return 0, 0
        at += _number(self._data, "<I", at)
        count = _number(self._data, "<I", at)
        if at + 4 + count * width > len(self._data):
            raise ValueError("too short")
        return at + 4, count


def _number(data: bytes, form: str, at: int) -> int:
    if at < 0:
        raise ValueError("before the beginning")
    value: int = struct.unpack_from(form, data, at)[0]
    return value
