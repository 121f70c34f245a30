r"""The port to where predictions are kept: a database, whichever. All calls on the event loop's thread.

    POST predictions --submit--> [row + intent, one transaction] --> relay --> Kafka --> worker --> Kafka --> sink --end--> [row]
                                                 \--> the table as the queue (no broker) --> worker --end--> [row]
    GET, list, cancel, events <-- get, find, cancel, changes

`memory.MemoryPredictions` and `database.opening.open_predictions` implement both protocols here.

Every call raises UpstreamUnavailable where the database cannot be reached: nothing has changed then, or (`submit`) the same call
with the same id may be made again.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from penstock.errors import Conflict, ErrorKind, PenstockError
from penstock_transformer.broker.records import Headers
from penstock_transformer.predictions.resource import Ending, NewPrediction, Payload, Prediction, State


class KeyReused(PenstockError):
    """An `Idempotency-Key` that was used for another request: answered 422."""

    kind = ErrorKind.INVALID_INPUT


def repeated(new: NewPrediction, first: Prediction, digest: bytes) -> Prediction:
    """The answer to a submit that was made before: the first, if `digest` says that it asked for the same.

    Raises KeyReused; Conflict for an id that is another prediction's.
    """
    if digest == new.digest and first.owner == new.owner:
        return first
    if first.id == new.id:
        raise Conflict(f"there is another prediction {new.id!r:.100}")
    raise KeyReused("was used before, for another request; a key names one request", field="Idempotency-Key")


def fitting(sizes: Sequence[int], nbytes: int) -> int:
    """How many of these, from the first on, come to no more than `nbytes` together; one always does."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > nbytes:
            return max(1, count)
    return len(sizes)


class Filter(NamedTuple):
    """Which predictions are meant; None is any. `owner` None sees everybody's (admin). Times in s of the Unix epoch, of creation;
    `after_s` itself is meant, `before_s` is not."""

    owner: str | None
    model: str | None = None
    state: State | None = None
    after_s: float | None = None
    before_s: float | None = None


class Expired(NamedTuple):
    """How many predictions were removed, and what is to be deleted from the object store now that nothing names it."""

    removed: int
    references: list[str]


# Bodies of one claim, by themselves or in the object store; a body over that comes alone.
CLAIM_BYTES = 16 * 2**20


class Claim(NamedTuple):
    """A prediction that was taken from the table as the queue: all that its record is made of."""

    sequence: int
    id: str
    model: str
    key: bytes | None
    payload: Payload
    headers: Headers
    created_s: float


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

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of these that are kept."""

    async def position(self, prediction: Prediction) -> int | None:
        """How many are before it in its queue, 0 for the next one; None once it is being processed, or if not known."""

    async def find(self, wanted: Filter, limit: int, cursor: str | None) -> Page:
        """Raises InvalidInput for a cursor that is none of ours."""

    async def cancel(self, prediction_id: str, owner: str | None) -> Prediction:
        """Canceled now unless it has ended; how it is then. Raises NotFound."""

    async def end(self, endings: Sequence[Ending]) -> list[str]:
        """Write what came of these, each whole or not at all; the ids that were changed by it (`resource.changed_by`: the first
        ending counts, but for a replay's). The same ending twice changes nothing; ids that are not here are left out."""

    async def expire(self, now_s: float, limit: int) -> Expired:
        """Remove up to so many of the ended whose time is over, with all that hangs on them. As many as `limit`: ask again."""

    def changes(self, prediction_id: str) -> AbstractAsyncContextManager[AsyncIterator[State]]:
        """States of one prediction as they come, by notification; begins with the present one, ends after an end.

        None is ever told twice, and the end is never missed; `processing` may be, where the end follows at once. Raises NotFound
        at entering."""


class Backlog(NamedTuple):
    """How many predictions of a model wait, how many somebody has taken (a worker, or a relay on its way to Kafka), and when the
    oldest of both came, in s of the Unix epoch."""

    model: str
    waiting: int
    taken: int
    oldest_s: float


class Claims(Protocol):
    """The predictions table as the queue, for a process that has no broker; `holder` names the process that holds what it took.

    A holder that has not renewed in time loses all that it holds to the next, once another renews or `expire` is called. Whoever
    ends a prediction first has ended it (`Predictions.end`), so that a holder which comes back late changes nothing.
    """

    async def claim(self, model: str, holder: str, limit: int, nbytes: int = CLAIM_BYTES) -> list[Claim]:
        """Take up to so many that wait: by `penstock-priority`, the lowest first, then in the order they came. The first, and
        those that follow as far as their bodies fit into `nbytes`."""

    async def held(self, model: str, holder: str) -> list[str]:
        """The ids that this holder has and that have not ended."""

    async def backlog(self) -> list["Backlog"]:
        """What waits and what is taken, of each model that has any of it: for who watches the queues."""

    async def give_back(self, holder: str, ids: Sequence[str] | None = None) -> None:
        """These, or all that it holds, wait again: for a holder that goes in order."""

    async def renew(self, holder: str, lease_s: float) -> None:
        """Hold for so long from now; what holders out of time held waits again."""

    def arrivals(self, model: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called, on the event loop's thread, whenever something may wait for this model
        (`changes.ANY_MODEL`: for any); the way to end that."""
