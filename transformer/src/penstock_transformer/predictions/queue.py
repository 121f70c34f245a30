"""The predictions table as the queue: the worker's machine and shell drain it where there is no broker.

    arrivals --wake--> TableIntake.poll --claim--> Record ... --> worker --> TableOutlet.commit --end, one transaction--> rows

It looks like a topic `<model>.requests` to its reader, whose partitions are lanes (`lanes`).

Intake and outlet are blocking ports, called from threads; the database is the event loop's, with its pools, its notifications and
its one writer (SQLite). So they hand each call to the loop and wait. They must not be called on the loop's own thread.

Invariant: a row that was handed out is ended by `commit`, given back by `close`, or, if the process dies, claimed by another when
the lease is over. Whoever ends it first has ended it (`Predictions.end`), so it gets one ending however many predicted it; one
that was canceled meanwhile keeps that.
"""

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from penstock.errors import PenstockError, TooLarge, UpstreamUnavailable
from penstock.failpoints import failpoint
from penstock_transformer.broker.port import Assignment, BrokerError, Retriable, TooLargeForTopic
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.predictions.answers import answer_of, letter_of
from penstock_transformer.predictions.lanes import Lanes
from penstock_transformer.predictions.port import CLAIM_BYTES, Claims
from penstock_transformer.predictions.resource import Ending, Payload

logger = logging.getLogger(__name__)

LEASE_S = 10.0
# Of the lease, after which it is renewed: two renewals may fail.
_RENEWALS = 3
# Notifications wake the reader; it looks by itself only this often, for what was lost with a listening connection.
_LOOK_S = 15.0
# A claim that brought some, but fewer than asked for, may have been cut short by its bytes: it looks again, but not in the way of
# what it brought.
_AGAIN_S = 0.05
_CALL_S = 60.0

T = TypeVar("T")
Pack = Callable[[str, Payload], Awaitable[Payload]]
"""Puts a large result of a prediction into the object store: its id and payload -> the payload to keep."""


class Table(Claims, Protocol):
    """What the queue needs of the store."""

    async def end(self, endings: Sequence[Ending]) -> list[str]: ...


class TableQueue:
    """One model's queue in one process: what intake and outlet share. `pack` None keeps every result in its row."""

    def __init__(
        self, table: Table, model: str, loop: asyncio.AbstractEventLoop, *, lease_s: float = LEASE_S, pack: Pack | None = None
    ) -> None:
        self.table = table
        self.model = model
        self.topic = f"{model}.requests"
        self.holder = f"queue-{uuid.uuid4().hex}"
        self.lease_s = lease_s
        self.pack = pack
        self.lanes = Lanes(self.topic)
        self._loop = loop
        # It is made on the loop's thread.
        self._thread = threading.get_ident()

    def intake(self) -> "TableIntake":
        """The end that reads."""
        return TableIntake(self)

    def outlet(self) -> "TableOutlet":
        """The end that writes."""
        return TableOutlet(self)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this on the loop and wait. Raises Retriable where the database cannot be reached."""
        if threading.get_ident() == self._thread:
            work.close()
            raise RuntimeError("the table's queue was called on the event loop's own thread, which it waits for")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(_CALL_S)
        except BrokerError:
            raise
        except (UpstreamUnavailable, TimeoutError) as error:
            future.cancel()
            raise Retriable(str(error) or "no answer in time") from None


class TableIntake:
    """The end that reads (an `Intake`). All lanes are assigned at the first poll, and stay."""

    def __init__(self, queue: TableQueue) -> None:
        self._queue = queue
        self._news = threading.Event()
        self._woken = False
        self._arrived = True
        self._look_at = 0.0
        self._doubtful = False
        self._assignment: Assignment | None = None
        self._end_arrivals: Callable[[], None] = lambda: None
        self._renewing: asyncio.Task[None] | None = None

    def subscribe(self, topics: Sequence[str], assignment: Assignment) -> None:
        """Begin to hold the lease. Raises Retriable, ValueError for topics that are not this queue's."""
        if list(topics) != [self._queue.topic]:
            raise ValueError(f"expected [{self._queue.topic!r}], got {list(topics)!r}")
        self._queue.call(self._start())
        self._assignment = assignment

    async def _start(self) -> None:
        queue = self._queue
        self._end_arrivals = queue.table.arrivals(queue.model, self._arrive)
        with contextlib.suppress(UpstreamUnavailable):
            await queue.table.renew(queue.holder, queue.lease_s)
        self._renewing = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        queue = self._queue
        while True:
            await asyncio.sleep(queue.lease_s / _RENEWALS)
            try:
                await queue.table.renew(queue.holder, queue.lease_s)
            except PenstockError as error:
                logger.warning("lease of the queue could not be renewed", extra={"model": queue.model, "reason": str(error)})

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Rows that wait, by priority and in their order. Raises Retriable."""
        if self._assignment is not None:
            assignment, self._assignment = self._assignment, None
            assignment.assigned(self._queue.lanes.partitions)
        deadline = time.monotonic() + timeout_s
        while True:
            self._news.clear()
            records = self._queue.lanes.take(max_records)
            idle = self._queue.lanes.idle
            if not records and not idle and (self._arrived or time.monotonic() >= self._look_at):
                records = self._claim(max_records)
            now = time.monotonic()
            if records or self._woken or now >= deadline:
                self._woken = False
                return records
            self._news.wait((deadline if idle else min(deadline, self._look_at)) - now)

    def _arrive(self) -> None:
        self._arrived = True
        self._news.set()

    def _claim(self, limit: int) -> list[Record]:
        queue = self._queue
        self._arrived = False
        try:
            if self._doubtful:
                queue.call(self._give_back_unknown())
                self._doubtful = False
            claims = queue.call(queue.table.claim(queue.model, queue.holder, limit, CLAIM_BYTES))
        except Retriable:
            self._doubtful = self._arrived = True
            raise
        for claim in claims:
            queue.lanes.put(claim)
        wait_s = 0.0 if len(claims) == limit else _AGAIN_S if claims else _LOOK_S
        self._look_at = time.monotonic() + wait_s
        failpoint("queue.claimed")
        return queue.lanes.take(limit)

    async def _give_back_unknown(self) -> None:
        """Rows of a claim whose answer was lost wait again."""
        queue = self._queue
        known = queue.lanes.held()
        unknown = [one for one in await queue.table.held(queue.model, queue.holder) if one not in known]
        if unknown:
            await queue.table.give_back(queue.holder, unknown)

    def wake(self) -> None:
        """Make a poll that waits return. Any thread."""
        self._woken = True
        self._news.set()

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Hand out nothing of these lanes; no new row without a key goes there."""
        self._queue.lanes.pause(partitions, True)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Hand these out again."""
        self._queue.lanes.pause(partitions, False)

    def seek(self, partition: Partition, offset: int) -> None:
        """Only to where it stands: what was handed out is in the worker's hands until it is committed."""
        at = self._queue.lanes.ends([partition])[partition]
        if offset != at:
            raise ValueError(f"{partition}: expected {at}, got {offset}")

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """One past what is ended, lane by lane."""
        return dict(self._queue.lanes.committed(partitions))

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """One past what was handed out."""
        return self._queue.lanes.ends(partitions)

    def group(self) -> None:
        """There is none: what fences here is that a prediction takes one ending."""

    def close(self) -> None:
        """Give back what is not ended."""
        self._queue.call(self._stop())

    async def _stop(self) -> None:
        self._end_arrivals()
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        await self._queue.table.give_back(self._queue.holder)


class TableOutlet:
    """The end that writes (an `Outlet`)."""

    def __init__(self, queue: TableQueue) -> None:
        self._queue = queue

    def open(self) -> None:
        """Nothing to take over: an earlier process's rows come when its lease is over."""

    def restore(self) -> None:
        """Nothing to restore: every commit is a transaction of its own, and may be made again."""

    def close(self) -> None:
        """Nothing to close."""

    def commit(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: Any) -> None:
        """End the predictions that these records answer.

        Raises Retriable: the same may be tried again; TooLargeForTopic for a result that the object store does not take."""
        del group
        queue = self._queue
        queue.call(self._end([self._ending(record) for record in records]))
        failpoint("queue.written")
        queue.lanes.finish(offsets)

    def _ending(self, record: OutRecord) -> Ending | None:
        if record.topic.endswith(".dead-letters"):
            return letter_of(record.headers)
        return answer_of(record.value, record.headers)

    async def _end(self, endings: Sequence[Ending | None]) -> None:
        packed = [await self._packed(ending, at) for at, ending in enumerate(endings) if ending is not None]
        await self._queue.table.end(packed)

    async def _packed(self, ending: Ending, at: int) -> Ending:
        if self._queue.pack is None or ending.payload is None:
            return ending
        try:
            return replace(ending, payload=await self._queue.pack(ending.id, ending.payload))
        except TooLarge as error:
            raise TooLargeForTopic(str(error), at=at) from None
