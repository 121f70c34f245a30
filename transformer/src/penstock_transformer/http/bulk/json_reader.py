"""A predict request's ordinary JSON body, for answers that stream: read whole, since JSON has no rows before its end."""

from typing import Any

from penstock.errors import TooLarge
from penstock_transformer.http.bulk.batch import BATCH_ROWS, Batch
from penstock_transformer.http.json_rows import json_rows


class JsonReader:
    """Implements `RowReader`. `options` are those of the body, once it has been read."""

    unit = "row"

    def __init__(self, *, most_bytes: int, most_rows: int) -> None:
        self.options: dict[str, Any] | None = None
        self._most_bytes = most_bytes
        self._most_rows = most_rows
        self._body = bytearray()

    def feed(self, chunk: bytes) -> list[Batch]:
        self._body += chunk
        if len(self._body) > self._most_bytes:
            raise TooLarge(f"expected a JSON body of at most {self._most_bytes} bytes; send more as NDJSON", field="body")
        return []

    def finish(self) -> list[Batch]:
        rows, self.options = json_rows(bytes(self._body), most_rows=self._most_rows)
        self._body.clear()
        starts = range(0, len(rows), BATCH_ROWS)
        return [
            Batch(numbers=list(range(start, min(start + BATCH_ROWS, len(rows)))), rows=rows[start : start + BATCH_ROWS])
            for start in starts
        ]
