"""The predictions table drained by this very process: what waits is claimed, predicted, and ended.

    arrivals --wake--> claim --Record--> TransformerPredicting --Outcome--> end | give back after a pause

Invariant: what was claimed is ended, given back, or, if this process dies, claimed by another once the lease is over.
"""

import asyncio
import logging
import os
import socket
from typing import Any

import msgspec

from penstock.errors import PenstockError
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.http.several import TransformerPlane
from penstock_transformer.predictions.claim_check import ClaimCheck
from penstock_transformer.predictions.object_names import Kind
from penstock_transformer.predictions.opening import Store
from penstock_transformer.predictions.port import Claim
from penstock_transformer.predictions.resource import Ending, Payload, State
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.headers import by_name
from penstock_transformer.worker.outcomes import Answered, Outcome, Refused
from penstock_transformer.worker.predicting import Fetch, TransformerPredicting

logger = logging.getLogger(__name__)

LEASE_S = 10.0
AT_ONCE = 64
PAUSE_S = 0.5


class Drain:
    """Drains the queues of all models of a plane into their store."""

    def __init__(self, store: Store, plane: TransformerPlane, claims: ClaimCheck, fetch: Fetch | None) -> None:
        self._store = store
        self._claims = claims
        self._fetch = fetch
        self._plane: Any = plane
        self.holder = f"{socket.gethostname()}-{os.getpid()}"
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; one task a model, and one that renews the leases."""
        self._tasks = [asyncio.create_task(self._keep(model)) for model in self._plane.models()]
        self._tasks.append(asyncio.create_task(self._renew()))

    async def stop(self) -> None:
        """Claim nothing more; what is not ended by then is given back."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._store.give_back(self.holder)
        except PenstockError as error:
            logger.warning("claims could not be given back", extra={"reason": error.message})

    async def _renew(self) -> None:
        while True:
            try:
                await self._store.renew(self.holder, LEASE_S)
            except PenstockError as error:
                logger.warning("lease could not be renewed", extra={"reason": error.message})
            await asyncio.sleep(LEASE_S / 4)

    async def _keep(self, model: str) -> None:
        wake = asyncio.Event()
        end = self._store.arrivals(model, wake.set)
        predicting = TransformerPredicting(self._plane, model, predictions="", dead_letters="", fetch=self._fetch)
        try:
            while True:
                wake.clear()
                try:
                    while claims := await self._store.claim(model, self.holder, AT_ONCE):
                        await self._batch(predicting, claims)
                except PenstockError as error:
                    logger.warning("queue could not be read", extra={"model": model, "reason": error.message})
                    await asyncio.sleep(PAUSE_S)
                    continue
                await wake.wait()
        finally:
            end()

    async def _batch(self, predicting: TransformerPredicting, claims: list[Claim]) -> None:
        outcomes: dict[int, Outcome] = {}
        done = asyncio.Event()

        def put(record: Record, outcome: Outcome) -> None:
            outcomes[record.offset] = outcome
            if len(outcomes) == len(claims):
                done.set()

        predicting.submit([_record(claim) for claim in claims], put)
        await done.wait()
        endings, again = [], []
        for claim in claims:
            outcome = outcomes[claim.sequence]
            if isinstance(outcome, Answered | Refused):
                endings.append(await self._ending(claim.id, outcome))
            else:
                again.append(claim.id)
        await self._store.end(endings)
        if again:
            await asyncio.sleep(PAUSE_S)
            await self._store.give_back(self.holder, again)

    async def _ending(self, prediction_id: str, outcome: Answered | Refused) -> Ending:
        ending = ending_of(prediction_id, outcome)
        payload = ending.payload
        if payload is None or payload.body is None:
            return ending
        packed = await self._claims.pack(prediction_id, Kind.RESULT, payload.body, payload.headers)
        return msgspec.structs.replace(ending, payload=packed)


def _record(claim: Claim) -> Record:
    payload = claim.payload
    headers = (*claim.headers, *payload.headers, ("ce_id", claim.id.encode()))
    if payload.reference is not None:
        headers = (*headers, (names.REFERENCE, payload.reference.encode()))
    partition = Partition(f"{claim.model}.requests", 0)
    return Record(partition, claim.sequence, round(claim.created_s * 1e3), claim.key, payload.body, headers)


def ending_of(prediction_id: str, outcome: Answered | Refused) -> Ending:
    record: OutRecord = outcome.record
    found = by_name(record.headers)

    def text(name: str) -> str | None:
        value = found.get(name)
        return None if value is None else value.decode("utf-8", "replace")

    if isinstance(outcome, Refused):
        return Ending(
            prediction_id, State.FAILED, kind=outcome.reason, message=text(names.MESSAGE), field=text(names.FIELD),
            bundle=text(names.BUNDLE) or "",
        )  # fmt: skip
    kept = tuple((name, found[name]) for name in (names.CONTENT_TYPE, names.HEADER_LENGTH) if name in found)
    body = record.value or b""
    return Ending(prediction_id, State.SUCCEEDED, Payload(body, kept, len(body)), bundle=text(names.BUNDLE) or "")
