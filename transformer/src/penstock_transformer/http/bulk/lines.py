"""NDJSON as it arrives: an object a line. A line that is no row is refused by its number, and the next is read all the same."""

import orjson

from penstock.errors import InvalidInput
from penstock.protocol.reading import number_beyond
from penstock.protocol.wording import describe
from penstock_transformer.http.bulk.batch import Batch

LINE_BYTES = 4 * 1024 * 1024


class LineReader:
    """Implements `RowReader`. Memory holds one chunk and one line of at most `longest` bytes; blank lines are passed over."""

    unit = "line"

    def __init__(self, *, longest: int = LINE_BYTES) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._skipping = False
        self._number = 0

    def feed(self, chunk: bytes) -> list[Batch]:
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._keep(chunk)
            return []
        block = bytes(self._rest) + chunk[:end] if self._rest else chunk[:end]
        self._rest = bytearray(chunk[end:]) if end < len(chunk) else bytearray()
        return self._batches(block[:-1].split(b"\n"))

    def finish(self) -> list[Batch]:
        rest, self._rest = bytes(self._rest), bytearray()
        return self._batches([rest]) if rest or self._skipping else []

    def _keep(self, chunk: bytes) -> None:
        if self._skipping:
            return
        self._rest += chunk
        if len(self._rest) > self._longest:
            self._skipping = True
            self._rest.clear()

    def _batches(self, lines: list[bytes]) -> list[Batch]:
        batch = Batch()
        batches = [batch]
        for line in lines:
            if batch.full:
                batch = Batch()
                batches.append(batch)
            self._number += 1
            if self._skipping or len(line) > self._longest:
                self._skipping = False
                batch.refuse(self._number, InvalidInput(f"expected a line of at most {self._longest} bytes"))
            else:
                self._read(line, batch)
        return [batch for batch in batches if batch.numbers]

    def _read(self, line: bytes, batch: Batch) -> None:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if line.strip():
                batch.refuse(self._number, _explained(error, line))
            return
        if isinstance(row, dict):
            batch.add(self._number, row, len(line))
        else:
            batch.refuse(self._number, InvalidInput(f"expected a JSON object of feature to value, got {describe(row)}"))


def _explained(error: orjson.JSONDecodeError, line: bytes) -> InvalidInput:
    if field := number_beyond(line):
        return InvalidInput("number out of range", field=field)
    # The position is within the line: without it, the message would speak of a line 1.
    return InvalidInput(f"expected a JSON object: {error.msg} at character {error.pos + 1}")
