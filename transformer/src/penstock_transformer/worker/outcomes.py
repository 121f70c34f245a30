"""What became of one record: the only thing that the worker's state machine knows of predicting.

    Record --Predicting.submit--> Outcome

Answered and Refused end a record: their records are produced in the transaction that commits its offset. Away and Died do not:
the record is tried again, after a pause.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from penstock_transformer.broker.records import OutRecord, Record


class Answered(msgspec.Struct, frozen=True, eq=False):
    """A prediction."""

    record: OutRecord


class Refused(msgspec.Struct, frozen=True, eq=False):
    """An error of the record's own: `record` is its dead letter, `reason` the error's kind."""

    record: OutRecord
    reason: str


class Away(msgspec.Struct, frozen=True, eq=False):
    """Not the record's fault: predictor or store cannot be reached, overloaded, not ready, or another bundle answers."""

    reason: str
    retry_after_s: float = 0.0


class Died(msgspec.Struct, frozen=True, eq=False):
    """The call was under way when the predictor's connection ended: it may have died of a record in this call, or by itself."""

    reason: str


Outcome = Answered | Refused | Away | Died


class Predicting(Protocol):
    """The pipeline as the worker sees it. On the event loop's thread."""

    def submit(self, records: Sequence[Record], done: Callable[[Record, Outcome], None]) -> None:
        """Predict these; `done` is called once for each, in any order, now or later. Never raises, never blocks."""

    def crashed(self, record: Record, attempts: int) -> OutRecord:
        """The dead letter of a record that ended a healthy predictor that many times, alone."""

    def too_large(self, record: Record, message: str) -> OutRecord:
        """The dead letter of a record whose prediction the topic does not take."""

    async def healthy(self) -> bool:
        """Whether predictor and store answer now: asked before a suspect is tried alone, so that only it can be blamed."""
