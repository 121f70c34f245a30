"""Answers too large for a record: the body goes to the object store, and the record carries its reference (the claim check).

    Predicting --Answered(record)--> up to `inline_bytes`: as it is
                                     more: put, then Answered(record with `penstock-reference` and no value)

The object is there before the record is: a reader of the topic never meets a reference to nothing. What is put for an answer that
is not committed in the end belongs to nobody; the sweep of the object store finds it.

Invariant: `done` is called once for each record. A store that is away costs the prediction, which is made again, and no more.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.errors import PenstockError, TooLarge
from penstock.serving.faults import fault
from penstock_transformer.broker.records import OutRecord, Record
from penstock_transformer.predictions.object_names import Kind
from penstock_transformer.predictions.objects import Objects
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.headers import id_of
from penstock_transformer.worker.outcomes import Answered, Away, Outcome, Predicting, Refused

logger = logging.getLogger(__name__)

# Large bodies that are on their way at once: their bytes are held twice meanwhile.
_AT_ONCE = 4

Done = Callable[[Record, Outcome], None]


class ClosedPredicting(Predicting, Protocol):
    """A `Predicting` that is to be closed."""

    async def close(self) -> None: ...


class LargeAnswers:
    """A `Predicting` over another. On the event loop's thread."""

    def __init__(self, predicting: ClosedPredicting, objects: Objects, inline_bytes: int) -> None:
        self._predicting = predicting
        self._objects = objects
        self._inline_bytes = inline_bytes
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self.crashed = predicting.crashed
        self.too_large = predicting.too_large
        self.healthy = predicting.healthy

    def submit(self, records: Sequence[Record], done: Done) -> None:
        """Predict these; `done` is called once for each, in any order, now or later. Never raises, never blocks."""

        def answered(record: Record, outcome: Outcome) -> None:
            if type(outcome) is not Answered or len(outcome.record.value or b"") <= self._inline_bytes:
                done(record, outcome)
                return
            task = asyncio.ensure_future(self._put_away(record, outcome.record))
            self._tasks.add(task)
            task.add_done_callback(lambda task: self._over(record, task, done))

        self._predicting.submit(records, answered)

    async def close(self) -> None:
        """Give up what is on its way, those records are answered with Away; and close the other."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._predicting.close()

    def _over(self, record: Record, task: "asyncio.Task[Outcome]", done: Done) -> None:
        self._tasks.discard(task)
        done(record, Away("draining") if task.cancelled() else task.result())

    async def _put_away(self, record: Record, answer: OutRecord) -> Outcome:
        try:
            async with self._room:
                return Answered(await self._referring(record, answer))
        except TooLarge as error:
            return Refused(self.too_large(record, error.message), str(error.kind))
        except PenstockError as error:
            return Away(f"{error.kind}: {error.message}")
        except Exception as error:
            return Away(fault(logger, "answer could not be put away", error, id_of(record)).message)

    async def _referring(self, record: Record, answer: OutRecord) -> OutRecord:
        reference = await self._objects.put(id_of(record), Kind.RESULT, answer.value or b"")
        headers = (*answer.headers, (names.REFERENCE, reference.encode()))
        return OutRecord(answer.topic, answer.key, None, headers, answer.partition, answer.timestamp_ms)
