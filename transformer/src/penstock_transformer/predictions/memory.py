"""Predictions in memory: the port's whole meaning without a database, for tests of whatever stands on it, users' own included.

    predictions = MemoryPredictions()
    prediction, is_new = await predictions.submit(new)

The same tests judge this and the databases. Nothing is kept over the process, and nothing is awaited inside a call, so that each
is one transaction by itself.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from msgspec.structs import replace

from penstock.errors import NotFound, Overloaded
from penstock_transformer.predictions.changes import Changes
from penstock_transformer.predictions.cursor import cursor_after, sequence_before
from penstock_transformer.predictions.port import CLAIM_BYTES, Backlog, Claim, Expired, Filter, Page, fitting, repeated
from penstock_transformer.predictions.resource import Ending, NewPrediction, Payload, Prediction, State, changed_by, priority_of


class _Kept:
    """A prediction with what it was made of. `holder` has it claimed; one that waits for nobody is not `waiting`."""

    __slots__ = ("holder", "new", "prediction", "waiting")

    def __init__(self, new: NewPrediction, prediction: Prediction) -> None:
        self.new = new
        self.prediction = prediction
        self.holder: str | None = None
        self.waiting = True

    @property
    def order(self) -> tuple[int, int]:
        return priority_of(self.new.headers), self.prediction.sequence


class MemoryPredictions:
    """Predictions of one process (a `Predictions`, and `Claims`). `max_items`: more are refused with Overloaded."""

    def __init__(self, *, max_items: int | None = None) -> None:
        self._kept: dict[str, _Kept] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._leases: dict[str, float] = {}
        self._sequence = 0
        self._max_items = max_items
        self._changes = Changes()

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def submit(self, new: NewPrediction) -> tuple[Prediction, bool]:
        """As `Predictions.submit`."""
        first = self._kept.get(new.id)
        if first is None and new.idempotency_key is not None:
            first = self._kept.get(self._keys.get((new.owner, new.idempotency_key), ""))
        if first is not None:
            return repeated(new, first.prediction, first.new.digest), False
        if self._max_items is not None and len(self._kept) >= self._max_items:
            raise Overloaded(f"{self._max_items} predictions are kept, which is all there is room for")
        self._sequence += 1
        prediction = Prediction(
            id=new.id,
            model=new.model,
            owner=new.owner,
            state=State.STARTING,
            sequence=self._sequence,
            rows=new.rows,
            created_s=new.created_s,
            idempotency_key=new.idempotency_key,
            webhook=new.webhook,
        )
        self._kept[new.id] = _Kept(new, prediction)
        if new.idempotency_key is not None:
            self._keys[new.owner, new.idempotency_key] = new.id
        self._changes.arrived(new.model)
        return prediction, True

    async def get(self, prediction_id: str, owner: str | None) -> Prediction:
        """As `Predictions.get`."""
        return self._find(prediction_id, owner).prediction

    async def input(self, prediction_id: str, owner: str | None) -> Payload:
        """As `Predictions.input`."""
        return self._find(prediction_id, owner).new.payload

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """As `Predictions.existing`."""
        return {prediction_id for prediction_id in ids if prediction_id in self._kept}

    async def position(self, prediction: Prediction) -> int | None:
        """As `Predictions.position`."""
        kept = self._kept.get(prediction.id)
        if kept is None or not kept.waiting:
            return None
        return sum(other.order < kept.order for other in self._waiting(prediction.model))

    async def find(self, wanted: Filter, limit: int, cursor: str | None) -> Page:
        """As `Predictions.find`."""
        before = sequence_before(cursor)
        found = [
            kept.prediction
            for kept in reversed(self._kept.values())
            if (before is None or kept.prediction.sequence < before) and _matches(wanted, kept.prediction)
        ]
        page = found[:limit]
        return Page(page, cursor_after(page[-1].sequence) if len(found) > limit else None)

    async def cancel(self, prediction_id: str, owner: str | None) -> Prediction:
        """As `Predictions.cancel`."""
        kept = self._find(prediction_id, owner)
        self._end(kept, Ending(prediction_id, State.CANCELED))
        return kept.prediction

    async def end(self, endings: Sequence[Ending]) -> list[str]:
        """As `Predictions.end`."""
        taken = [e.id for e in endings if (kept := self._kept.get(e.id)) is not None and self._end(kept, e)]
        return list(dict.fromkeys(taken))

    async def expire(self, now_s: float, limit: int) -> Expired:
        """As `Predictions.expire`."""
        await self._bury()
        over = [k for k in self._kept.values() if k.prediction.expires_s is not None and k.prediction.expires_s <= now_s][:limit]
        for kept in over:
            del self._kept[kept.new.id]
            if kept.new.idempotency_key is not None:
                del self._keys[kept.new.owner, kept.new.idempotency_key]
        payloads = [payload for kept in over for payload in (kept.new.payload, kept.prediction.result)]
        return Expired(len(over), [p.reference for p in payloads if p is not None and p.reference is not None])

    def changes(self, prediction_id: str) -> AbstractAsyncContextManager[AsyncIterator[State]]:
        """As `Predictions.changes`."""

        async def read() -> State:
            return self._find(prediction_id, None).prediction.state

        return self._changes.watch(prediction_id, read)

    async def claim(self, model: str, holder: str, limit: int, nbytes: int = CLAIM_BYTES) -> list[Claim]:
        """As `Claims.claim`."""
        waiting = sorted(self._waiting(model), key=lambda kept: kept.order)[:limit]
        taken = waiting[: fitting([kept.new.payload.nbytes for kept in waiting], nbytes)]
        for kept in taken:
            kept.holder, kept.waiting = holder, False
            if kept.prediction.state is State.STARTING:
                kept.prediction = replace(kept.prediction, state=State.PROCESSING, started_s=time.time())
                self._changes.tell(kept.new.id, State.PROCESSING)
        return [
            Claim(k.prediction.sequence, k.new.id, model, k.new.key, k.new.payload, k.new.headers, k.new.created_s) for k in taken
        ]

    async def held(self, model: str, holder: str) -> list[str]:
        """As `Claims.held`."""
        return [i for i, kept in self._kept.items() if kept.holder == holder and kept.new.model == model]

    async def backlog(self) -> list[Backlog]:
        """As `Claims.backlog`."""
        open_ones = [kept for kept in self._kept.values() if kept.waiting or kept.holder is not None]
        found = []
        for model in sorted({kept.new.model for kept in open_ones}):
            ours = [kept for kept in open_ones if kept.new.model == model]
            waiting = sum(kept.waiting for kept in ours)
            found.append(Backlog(model, waiting, len(ours) - waiting, min(kept.new.created_s for kept in ours)))
        return found

    async def give_back(self, holder: str, ids: Sequence[str] | None = None) -> None:
        """As `Claims.give_back`."""
        for prediction_id, kept in self._kept.items():
            if kept.holder == holder and (ids is None or prediction_id in ids):
                kept.holder, kept.waiting = None, True
                self._changes.arrived(kept.new.model)

    async def renew(self, holder: str, lease_s: float) -> None:
        """As `Claims.renew`."""
        self._leases[holder] = time.monotonic() + lease_s
        await self._bury()

    async def _bury(self) -> None:
        now = time.monotonic()
        self._leases = {holder: until for holder, until in self._leases.items() if until >= now}
        for holder in {kept.holder for kept in self._kept.values()} - self._leases.keys() - {None}:
            await self.give_back(str(holder))

    def arrivals(self, model: str, wake: Callable[[], None]) -> Callable[[], None]:
        """As `Claims.arrivals`."""
        return self._changes.arrivals(model, wake)

    def _waiting(self, model: str) -> list[_Kept]:
        return [kept for kept in self._kept.values() if kept.waiting and kept.new.model == model]

    def _find(self, prediction_id: str, owner: str | None) -> _Kept:
        kept = self._kept.get(prediction_id)
        if kept is None or owner not in (None, kept.new.owner):
            raise NotFound(f"no prediction {prediction_id[:100]!r}", field="prediction_id")
        return kept

    def _end(self, kept: _Kept, ending: Ending) -> bool:
        if not changed_by(kept.prediction.state, ending):
            return False
        keep_s = kept.new.keep_s
        kept.prediction = replace(
            kept.prediction,
            state=ending.state,
            ended_s=ending.ended_s,
            expires_s=None if keep_s is None else ending.ended_s + keep_s,
            bundle=ending.bundle,
            kind=ending.kind,
            message=ending.message,
            field=ending.field,
            result=ending.payload,
        )
        kept.holder, kept.waiting = None, False
        self._changes.tell(kept.new.id, ending.state)
        return True


def _matches(wanted: Filter, prediction: Prediction) -> bool:
    return (
        wanted.owner in (None, prediction.owner)
        and wanted.model in (None, prediction.model)
        and wanted.state in (None, prediction.state)
        and (wanted.after_s is None or prediction.created_s >= wanted.after_s)
        and (wanted.before_s is None or prediction.created_s < wanted.before_s)
    )
