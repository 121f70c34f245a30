"""The import of records from CSV: rows are checked and written as they arrive, and what cannot be written is told by line.

    chunks -> CsvStream -> typed row -> RecordSet.put_many (batches) -> ImportReport

A bad row never keeps the others from being written; sending the corrected file again is safe.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import InvalidInput
from penstock_transformer.http.csv_rows import checked_header, typed_row
from penstock_transformer.http.csv_stream import CsvStream, Line
from penstock_transformer.http.record_set import RecordSet, check_characters, event_time_of, value_from_json

_BATCH = 500
_MOST_REJECTED_SHOWN = 100
EVENT_TIME = "event_time"

Row = tuple[Any, dict[str, Any], float]


@dataclass(slots=True)
class ImportReport:
    """`unchanged` rows were no newer than what the store holds; of the `refused` ones the first hundred are shown."""

    written: int = 0
    unchanged: int = 0
    refused: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, row: int, line: int, error: InvalidInput) -> None:
        self.refused += 1
        if len(self.rejected) < _MOST_REJECTED_SHOWN:
            self.rejected.append({"row": row, "line": line, "field": error.field, "reason": error.message})

    def document(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"written": self.written, "unchanged": self.unchanged, "refused": self.refused, "rejected": self.rejected}


class RecordImport:
    """One import. `run` to the end; the report tells what became of every row."""

    def __init__(self, records: RecordSet) -> None:
        self.report = ImportReport()
        self._records = records
        self._header: list[str] = []
        self._types: dict[str, str] = {}
        self._rows = 0
        self._batch: list[Row] = []
        self._now_s = time.time()

    async def run(self, chunks: AsyncIterator[bytes]) -> ImportReport:
        """Write all rows of a CSV document. Raises InvalidInput for a header that does not fit the record's columns."""
        stream = CsvStream()
        async for chunk in chunks:
            await self._take(stream.feed(chunk))
        await self._take(stream.finish())
        if not self._header:
            raise InvalidInput("expected a line of column names, got an empty body", field="header")
        await self._write()
        return self.report

    async def _take(self, lines: list[Line]) -> None:
        for line in lines:
            if not self._header:
                self._read_header(line)
                continue
            row, self._rows = self._rows, self._rows + 1
            try:
                self._batch.append(self._typed(line, row))
            except InvalidInput as error:
                self.report.refuse(row, line.number, error)
            if len(self._batch) >= _BATCH:
                await self._write()

    def _read_header(self, line: Line) -> None:
        records = self._records
        types = {EVENT_TIME: "unix_timestamp"} | records.columns | {records.key_name: records.key_type}
        if line.error is not None:
            raise InvalidInput(line.error, field="header")
        header = checked_header(line.cells, types)
        if records.key_name not in header:
            raise InvalidInput(f"expected a column {records.key_name}, the record's key", field="header")
        self._header, self._types = header, types

    def _typed(self, line: Line, row: int) -> Row:
        where = f"rows[{row}]"
        if line.error is not None:
            raise InvalidInput(line.error, field=where)
        records = self._records
        values = typed_row(line.cells, self._header, self._types, row=row, line=line.number)
        key = values.pop(records.key_name)
        if key is None:
            raise InvalidInput(f"line {line.number}: expected a value, got an empty cell", field=f"{where}.{records.key_name}")
        moment = self._now_s
        if EVENT_TIME not in records.columns and EVENT_TIME in values:
            moment = event_time_of(values.pop(EVENT_TIME), f"{where}.{EVENT_TIME}")
        for name, kind in records.columns.items():
            values[name] = value_from_json(values.get(name), kind, f"{where}.{name}")
        key_field = f"{where}.{records.key_name}"
        value_from_json(key, records.key_type, key_field)
        check_characters(key, key_field)
        return key, values, moment

    async def _write(self) -> None:
        if self._batch:
            written = await self._records.put_many(self._batch)
            self.report.written += written
            self.report.unchanged += len(self._batch) - written
            self._batch = []
