r"""The port to where predictions are kept: a database, whichever. All calls on the event loop's thread.

    POST predictions --submit--> [row + intent, one transaction] --> relay --> Kafka --> worker --> Kafka --> sink --end--> [row]
                                                 \--> the table as the queue (no broker) --> worker --end--> [row]
    GET, list, cancel, events <-- get, find, cancel, changes

Every call raises UpstreamUnavailable where the database cannot be reached: nothing has changed then, or (`submit`) the same call
with the same id may be made again.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from penstock.errors import ErrorKind, PenstockError
from penstock_transformer.predictions.resource import Ending, NewPrediction, Payload, Prediction, State


class KeyReused(PenstockError):
    """An `Idempotency-Key` that was used for another request: answered 422."""

    kind = ErrorKind.INVALID_INPUT


class Filter(NamedTuple):
    """Which predictions are meant; None is any. `owner` None sees everybody's (admin). Times in s of the Unix epoch."""

    owner: str | None
    model: str | None = None
    state: State | None = None
    after_s: float | None = None
    before_s: float | None = None


class Page(NamedTuple):
    """Predictions, newest first, and where the next page begins (None: there is none)."""

    predictions: Sequence[Prediction]
    cursor: str | None


class Predictions(Protocol):
    """Where predictions are kept."""

    async def submit(self, new: NewPrediction) -> tuple[Prediction, bool]:
        """Keep it, with the intent to publish, in one transaction; the prediction, and whether it is new.

        One with a key that its owner used before for the same request is answered with the first. Raises KeyReused, Overloaded.
        """

    async def get(self, prediction_id: str, owner: str | None) -> Prediction:
        """Raises NotFound, for somebody else's too."""

    async def input(self, prediction_id: str, owner: str | None) -> Payload:
        """What was asked. Raises NotFound."""

    async def position(self, prediction: Prediction) -> int | None:
        """How many are before it in its queue, 0 for the next one; None once it is being processed, or if not known."""

    async def find(self, wanted: Filter, limit: int, cursor: str | None) -> Page:
        """Raises InvalidInput for a cursor that is none of ours."""

    async def cancel(self, prediction_id: str, owner: str | None) -> Prediction:
        """Canceled now unless it has ended; how it is then. Raises NotFound."""

    async def end(self, endings: Sequence[Ending]) -> list[str]:
        """Write what came of these, in one transaction; the ids that had not ended before. The same ending twice changes
        nothing; ids that are not here are left out."""

    async def expire(self, now_s: float, limit: int) -> list[str]:
        """Remove up to so many whose time is over; the references into the object store that are to be deleted then."""

    def changes(self, prediction_id: str) -> AbstractAsyncContextManager[AsyncIterator[State]]:
        """States of one prediction as they come, by notification; begins with the present one, ends after an end."""
