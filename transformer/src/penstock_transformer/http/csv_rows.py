"""CSV as rows: the first line names the columns, every other line is a row, an empty cell is a missing value.

RFC 4180 with UTF-8 (a byte order mark is skipped) and either line ending. Nothing is guessed where the bundle says the types: a
broken line is refused with its number in the file, its row and its column.
"""

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from penstock.errors import InvalidInput, TooLarge
from penstock_transformer.http.cells import WrongCell, shown, typed
from penstock_transformer.nearest import did_you_mean

Types = Mapping[str, str]


def csv_rows(body: bytes, types: Types | None, *, most_rows: int) -> list[dict[str, Any]]:
    """All rows of a CSV document. `types` maps the columns allowed to their types; None allows all and guesses.

    Raises InvalidInput naming `header` or `rows[i].column` and the line, TooLarge for more than `most_rows`, blank lines counted.
    """
    text = io.StringIO(decoded(body), newline="")
    # No record ends without a line break, and most bodies have too few of those to be worth a look at their records.
    if body.count(b"\n") + body.count(b"\r") > most_rows:
        refuse_many(text, most_rows)
    records = numbered(csv.reader(text, strict=True))
    first = next(records, None)
    if first is None:
        raise InvalidInput("expected a line of column names, got an empty body", field="header")
    header = checked_header(first[1], types)
    rows: list[dict[str, Any]] = []
    for line, cells in records:
        rows.append(typed_row(cells, header, types, row=len(rows), line=line))
    return rows


def refuse_many(text: io.StringIO, most_rows: int) -> None:
    """Raises TooLarge for more than `most_rows` lines below the header, blank ones too, before any value is typed."""
    lines = 0
    with contextlib.suppress(csv.Error):  # told with its line once the rows before it have been read
        for _ in islice(csv.reader(text, strict=True), most_rows + 2):
            lines += 1
    if lines > most_rows + 1:
        raise TooLarge(f"expected at most {most_rows} rows, blank lines counted", field="rows")
    text.seek(0)


def decoded(body: bytes) -> str:
    """The text of a body. Raises InvalidInput, with the byte's place, for anything but UTF-8."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"expected UTF-8 text, got an invalid byte at {error.start}") from None


def numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Records with the number of the line they begin on; blank lines are passed over. Raises InvalidInput for broken quoting."""
    line = 1
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidInput(f"line {line}: broken CSV: {error}", field="body") from None
        if record:
            yield line, record
        line = reader.line_num + 1


def checked_header(names: Sequence[str], types: Types | None) -> list[str]:
    """The column names. Raises InvalidInput for one that is empty, given twice, or unknown."""
    header = [name.strip() for name in names]
    for at, name in enumerate(header):
        if not name:
            raise InvalidInput("expected a name, got an empty cell", field=f"header[{at}]")
        if name in header[:at]:
            raise InvalidInput(f"column {shown(name)} is named twice", field=f"header[{at}]")
        if types is not None and name not in types:
            raise InvalidInput(f"unknown column {shown(name)}; {did_you_mean(name, types)}", field=f"header[{at}]")
    return header


def typed_row(cells: Sequence[str], header: Sequence[str], types: Types | None, *, row: int, line: int) -> dict[str, Any]:
    """One row by column name. Raises InvalidInput naming row, column and line."""
    if len(cells) != len(header):
        raise InvalidInput(f"line {line}: expected {len(header)} cells, got {len(cells)}", field=f"rows[{row}]")
    values: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        try:
            values[name] = typed(cell, None if types is None else types[name])
        except WrongCell as error:
            raise InvalidInput(f"line {line}: {error}", field=f"rows[{row}].{name}") from None
    return values
