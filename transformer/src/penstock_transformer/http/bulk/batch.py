"""A batch of a bulk request: rows that are predicted together, and the places of those that could not even be read.

Every entry, good or bad, gets exactly one answer, in the order it was sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from penstock.errors import InvalidInput, PenstockError
from penstock.tensors import Array
from penstock_transformer.requests import Row

BATCH_ROWS = 256
"""Rows of one batch: enough to make an encoder's and a model's run cheap a row, few enough for a first answer soon."""
BATCH_BYTES = 1024 * 1024
"""Bytes of the text of one batch; rows with images make smaller batches."""

Answer = dict[str, Any] | PenstockError


@dataclass(slots=True)
class Batch:
    """`numbers`: each entry's number as the form counts it (lines, rows). `faults`: what is wrong with entries that have no row.

    The rows, in order without those entries, are dicts or columns of arrays `[n]`. `bundle` is the label of what answered.
    """

    numbers: list[int] = field(default_factory=list)
    faults: dict[int, InvalidInput] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    columns: dict[str, Array] | None = None
    nbytes: int = 0
    bundle: str = ""

    def add(self, number: int, row: Row, nbytes: int) -> None:
        """One more row."""
        self.numbers.append(number)
        self.rows.append(row)
        self.nbytes += nbytes

    def refuse(self, number: int, error: InvalidInput) -> None:
        """One more entry that is no row."""
        self.faults[len(self.numbers)] = error
        self.numbers.append(number)

    @property
    def full(self) -> bool:
        return len(self.numbers) >= BATCH_ROWS or self.nbytes >= BATCH_BYTES

    @property
    def places(self) -> list[int]:
        """The entries that have a row, in order."""
        return [at for at in range(len(self.numbers)) if at not in self.faults] if self.faults else list(range(len(self.numbers)))

    def part(self, rows: Sequence[int]) -> dict[str, Any]:
        """Some of the rows, by their place among the rows, as arguments of a PredictRequest."""
        if self.columns:
            return {"columns": {name: array[list(rows)] for name, array in self.columns.items()}}
        if self.columns is not None:  # no columns have no length: what has defaults for everything is asked for by empty rows
            return {"rows": [{} for _ in rows]}
        return {"rows": [self.rows[at] for at in rows]}


class RowReader(Protocol):
    """Turns the chunks of a body into batches; a batch is not kept waiting for rows that have not come."""

    unit: str
    """What `numbers` count: `line` or `row`."""

    def feed(self, chunk: bytes) -> Iterable[Batch]:
        """The batches that are complete now, made as they are asked for. Raises InvalidInput where the rest cannot be read."""

    def finish(self) -> Iterable[Batch]:
        """The last batches. Raises InvalidInput for a body that ends too early."""
