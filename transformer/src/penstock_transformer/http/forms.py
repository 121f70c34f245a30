"""Forms (multipart/form-data) as rows: a field or file is a value; a name sent n times makes n rows, one sent once is in all.

The parser is python-multipart's; this module keeps it to the limits and turns its parts into rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from penstock.errors import InvalidInput, TooLarge
from penstock_transformer.http.cells import WrongCell, shown, typed
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.requests import Row

Types = Mapping[str, str]


@dataclass(slots=True)
class Part:
    """One part of a form; `is_file` if it was sent with a file name."""

    name: str
    data: bytes
    is_file: bool


def form_rows(body: bytes, content_type: bytes, types: Types | None, limits: WayInLimits) -> list[Row]:
    """The rows of a form; files and image fields as bytes. Raises InvalidInput naming the field, or TooLarge."""
    values: dict[str, list[Any]] = {}
    for part in form_parts(body, content_type, limits):
        given = values.setdefault(part.name, [])
        given.append(_value(part, len(given), types, limits.image_bytes))
    rows = max((len(given) for given in values.values()), default=0)
    if rows == 0:
        raise InvalidInput("expected at least one field, got an empty form", field="body")
    if rows > limits.rows:
        raise TooLarge(f"expected at most {limits.rows} rows, got {rows}", field="rows")
    for name, given in values.items():
        if len(given) not in (1, rows):
            raise InvalidInput(f"expected 1 or {rows} values, as other fields have, got {len(given)}", field=name)
    return [{name: given[row if len(given) > 1 else 0] for name, given in values.items()} for row in range(rows)]


def _value(part: Part, row: int, types: Types | None, most_bytes: int) -> Any:
    if types is not None and part.name not in types:
        raise InvalidInput(f"unknown field; expected some of {', '.join(sorted(types))}", field=part.name[:80])
    kind = None if types is None else types[part.name]
    if part.is_file and kind in (None, "image", "bytes"):
        if len(part.data) > most_bytes:
            raise TooLarge(f"expected at most {most_bytes} bytes, got {len(part.data)}", field=f"rows[{row}].{part.name}")
        return part.data
    try:
        return typed(part.data.decode(), kind)
    except UnicodeDecodeError:
        raise InvalidInput("expected UTF-8 text", field=f"rows[{row}].{part.name}") from None
    except WrongCell as error:
        raise InvalidInput(str(error), field=f"rows[{row}].{part.name}") from None


def form_parts(body: bytes, content_type: bytes, limits: WayInLimits) -> list[Part]:
    """The parts of a form in the order sent. Raises InvalidInput for a broken form, TooLarge for more than `limits.parts`."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary or len(boundary) > 256:
        raise InvalidInput("expected multipart/form-data with a boundary", field="Content-Type")
    collector = _Collector(limits)
    try:
        parser = MultipartParser(boundary, collector.callbacks(), max_size=float("inf"))
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise InvalidInput(f"broken form: {error}", field="body") from None
    if not collector.finished:
        raise InvalidInput("broken form: it ends before its last boundary", field="body")
    return collector.parts


class _Collector:
    """Gathers what the parser calls out, part by part."""

    def __init__(self, limits: WayInLimits) -> None:
        self.parts: list[Part] = []
        self.finished = False
        self._limits = limits
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._data: list[bytes] = []

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) >= self._limits.parts:
            raise TooLarge(f"expected at most {self._limits.parts} fields", field="body")
        self._headers, self._data = {}, []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name")
        if kind != b"form-data" or not name:
            raise InvalidInput('expected "Content-Disposition: form-data; name=…"', field=f"parts[{len(self.parts)}]")
        try:
            decoded = name.decode()
        except UnicodeDecodeError:
            raise InvalidInput(f"expected a name in UTF-8, got {shown(repr(name))}", field=f"parts[{len(self.parts)}]") from None
        self.parts.append(Part(decoded, b"".join(self._data), b"filename" in options))

    def _finish(self) -> None:
        self.finished = True
