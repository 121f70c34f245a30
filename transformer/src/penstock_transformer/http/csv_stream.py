"""CSV as it arrives: whole records out of a stream of byte chunks, with the number of the line each begins on.

Memory holds one chunk and one record, whatever the length of the file. A record that cannot be read is given as its error, and
the next one is read all the same.
"""

import codecs
import csv
import io
from dataclasses import dataclass

from penstock.errors import InvalidInput


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
        self._pending = ""
        self._number = 1
        self._longest = longest_record

    def feed(self, chunk: bytes) -> list[Line]:
        """The records that are complete now. Raises InvalidInput for one longer than allowed."""
        self._pending += self._decoder.decode(chunk)
        end = self._complete()
        block, self._pending = self._pending[:end], self._pending[end:]
        if len(self._pending) > self._longest:
            raise InvalidInput(f"line {self._number}: expected a record of at most {self._longest} characters", field="body")
        return self._parse(block)

    def finish(self) -> list[Line]:
        """The last record, if the file does not end in a line break."""
        block, self._pending = self._pending + self._decoder.decode(b"", True), ""
        return self._parse(block)

    def _complete(self) -> int:
        """Where the last complete record ends: behind a line break with an even number of quotes before it."""
        end = self._pending.rfind("\n") + 1
        if self._pending.count('"', 0, end) % 2:
            # Before the last quote there is an even number of them.
            end = self._pending.rfind("\n", 0, self._pending.rfind('"', 0, end)) + 1
        return end

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
