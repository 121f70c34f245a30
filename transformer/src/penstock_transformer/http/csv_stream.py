"""CSV as it arrives: whole records out of a stream of byte chunks, with the number of the line each begins on.

Memory holds one chunk and one record, whatever the length of the file. A record that cannot be read is given as its error, and
the next one is read all the same.
"""

import codecs
import csv
import io
from dataclasses import dataclass

from penstock.errors import InvalidInput

_LEAST_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """One record: the number of its first line, and its cells, or what is wrong with it."""

    number: int
    cells: list[str]
    error: str | None = None


class CsvStream:
    """Feed chunks, get records. Bytes that are no UTF-8 become lone surrogates: no type takes those, and their row is refused."""

    def __init__(self, *, longest_record: int = 1024 * 1024) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        self._held = bytearray()
        self._pending = ""
        self._number = 1
        self._longest = longest_record

    def feed(self, chunk: bytes) -> list[Line]:
        """The records that are complete now. Raises InvalidInput for one longer than allowed."""
        self._held += chunk
        # A record is looked at whole each time: many tiny chunks must not make that many looks.
        if len(self._held) < _LEAST_BYTES:
            return []
        self._take_held()
        return self._whole_records()

    def finish(self) -> list[Line]:
        """The last record, if the file does not end in a line break."""
        self._take_held(final=True)
        complete = self._whole_records()
        rest, self._pending = self._pending, ""
        return complete + self._parse(rest)

    def _whole_records(self) -> list[Line]:
        end = self._complete()
        block, self._pending = self._pending[:end], self._pending[end:]
        lines = self._parse(block)
        if len(self._pending) > self._longest:
            raise InvalidInput(f"line {self._number}: expected a record of at most {self._longest} characters", field="body")
        return lines

    def _take_held(self, final: bool = False) -> None:
        self._pending += self._decoder.decode(bytes(self._held), final)
        self._held.clear()

    def _complete(self) -> int:
        """Where the last complete record ends: behind the last line break that is not between quotes."""
        parts = self._pending.split('"')
        end = len(self._pending)
        for at in range(len(parts) - 1, -1, -1):
            start = end - len(parts[at])
            # Every second part lies between quotes.
            found = -1 if at % 2 else parts[at].rfind("\n")
            if found >= 0:
                return start + found + 1
            end = start - 1
        return 0

    def _parse(self, block: str) -> list[Line]:
        if not block:
            return []
        lines: list[Line] = []
        reader = csv.reader(io.StringIO(block, newline=""), strict=True)
        first = self._number
        while True:
            number = first + reader.line_num
            try:
                cells = next(reader)
            except StopIteration:
                self._number = first + reader.line_num
                return lines
            except csv.Error as error:
                lines.append(Line(number, [], f"broken CSV: {error}"))
                continue
            if cells:
                lines.append(Line(number, cells))
