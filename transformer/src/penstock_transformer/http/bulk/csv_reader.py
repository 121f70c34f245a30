"""CSV as a bulk body: the records of `csv_stream`, typed by the bundle, as batches."""

import re

from penstock.errors import InvalidInput
from penstock_transformer.http.bulk.batch import Batch
from penstock_transformer.http.csv_rows import Types, checked_header, typed_row
from penstock_transformer.http.csv_stream import CsvStream, Line

# `typed_row` names the row and the line, as the answer to a whole file does; here the answer's own line says which it is.
_PLACE = re.compile(r"^rows\[\d+\]\.?")
_LINE = re.compile(r"^line \d+: ")


class CsvReader:
    """Implements `RowReader`. Raises InvalidInput for a header that does not fit."""

    unit = "line"

    def __init__(self, types: Types | None) -> None:
        self._types = types
        self._stream = CsvStream()
        self._header: list[str] = []

    def feed(self, chunk: bytes) -> list[Batch]:
        return self._batches(self._stream.feed(chunk))

    def finish(self) -> list[Batch]:
        batches = self._batches(self._stream.finish())
        if not self._header:
            raise InvalidInput("expected a line of column names, got an empty body", field="header")
        return batches

    def _batches(self, lines: list[Line]) -> list[Batch]:
        batches = [Batch()]
        for line in lines:
            if not self._header:
                if line.error is not None:
                    raise InvalidInput(line.error, field="header")
                self._header = checked_header(line.cells, self._types)
                continue
            if batches[-1].full:
                batches.append(Batch())
            self._read(line, batches[-1])
        return [batch for batch in batches if batch.numbers]

    def _read(self, line: Line, batch: Batch) -> None:
        if line.error is not None:
            batch.refuse(line.number, InvalidInput(line.error))
            return
        try:
            row = typed_row(line.cells, self._header, self._types, row=0, line=line.number)
        except InvalidInput as error:
            field = _PLACE.sub("", error.field or "") or None
            batch.refuse(line.number, InvalidInput(_LINE.sub("", error.message), field=field))
        else:
            batch.add(line.number, row, sum(map(len, line.cells)))
