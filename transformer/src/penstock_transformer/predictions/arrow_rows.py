"""An Arrow stream as the rows of a prediction that is handed in: what is kept is JSON, whichever form it came in.

Read by the reader of bulk requests, whole: nobody is there to be told of a record batch that is wrong.
"""

import math
from typing import Any

import numpy as np

from penstock.errors import TooLarge
from penstock.tensors import Array
from penstock_transformer.http.bulk.arrow_reader import ArrowReader
from penstock_transformer.http.bulk.batch import Batch
from penstock_transformer.plan import FetchPlan
from penstock_transformer.requests import Row


def arrow_rows(data: bytes, plan: FetchPlan | None, *, most_rows: int) -> list[Row]:
    """The rows of a stream; times as seconds since 1970, bytes as bytes. Raises InvalidInput naming the column, TooLarge."""
    reader = ArrowReader(plan, most_bytes=len(data))
    rows: list[Row] = []
    for batch in reader.feed(data):
        if len(rows) + len(batch.numbers) > most_rows:
            raise TooLarge(f"expected at most {most_rows} rows", field="rows")
        rows += _rows(batch)
    for batch in reader.finish():
        rows += _rows(batch)
    return rows


def _rows(batch: Batch) -> list[Row]:
    if not batch.columns:
        return [{} for _ in batch.numbers]
    names = tuple(batch.columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*map(_plain, batch.columns.values()), strict=True)]


def _plain(column: Array) -> list[Any]:
    """Values that JSON has, bytes aside."""
    if column.dtype.kind == "M":
        micros = column.astype("datetime64[us]").astype(np.int64).tolist()
        return [None if lost else at / 1e6 for at, lost in zip(micros, np.isnat(column).tolist(), strict=True)]
    if column.dtype.kind == "f" and column.ndim == 1:
        return [None if math.isnan(value) else value for value in column.tolist()]
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in column.tolist()]
