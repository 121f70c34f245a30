"""The sink's shell: one thread that reads, one that commits offsets, the database on the event loop, the machine between them.

    intake thread --Assigned, Taken, Polled--> loop: machine --Write--> database        --Commit--> commit thread

Invariant: the machine is called on the event loop's thread alone; each Write and Commit is answered by exactly one event.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from penstock.errors import UpstreamUnavailable
from penstock.failpoints import failpoint
from penstock_transformer.broker.port import BrokerError, Intake
from penstock_transformer.broker.records import Partition
from penstock_transformer.predictions.port import Predictions
from penstock_transformer.predictions.resource import Ending
from penstock_transformer.sink import effects as fx
from penstock_transformer.sink import events as ev
from penstock_transformer.sink.machine import SinkMachine
from penstock_transformer.worker import events as reading
from penstock_transformer.worker.intake_thread import IntakeThread

logger = logging.getLogger(__name__)

_JOIN_S = 15.0


class SinkShell:
    """Runs one machine over an intake that nobody else uses. `topics` as `Intake.subscribe` takes them."""

    def __init__(
        self,
        machine: SinkMachine,
        predictions: Predictions,
        intake: Intake,
        topics: Sequence[str],
        *,
        poll_records: int = 500,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine = machine
        self._predictions = predictions
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[ev.Event] = asyncio.Queue()
        self._group: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._committer = ThreadPoolExecutor(1, "sink-commit")
        self.assigned = False
        self.failure: Exception | None = None
        self._intake = IntakeThread(
            intake,
            topics,
            tell=lambda event, group: self._call(self._read, event, group),
            # What is under way for a partition that goes does no harm: nobody need wait for it.
            release=lambda _, free: free(),
            failed=lambda error: self._call(self._reading_failed, error),
            poll_records=poll_records,
        )

    def stop(self) -> None:
        """Write and commit what was read, then `run` returns."""
        self._inbox.put_nowait(ev.Stop())

    async def run(self) -> None:
        """Sink until stopped. Raises the error that ended the reading, if one did."""
        self._intake.start()
        try:
            while not self._machine.finished:
                event = await self._next_event()
                for effect in self._machine.handle(event, self._clock()):
                    self._begin(effect)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._intake.stop()
            if not await asyncio.to_thread(self._intake.join, _JOIN_S):
                logger.warning("the reading thread did not end in time")
            self._committer.shutdown(wait=False)
        if self.failure is not None:
            raise self.failure

    async def _next_event(self) -> ev.Event:
        deadline = self._machine.deadline
        try:
            async with asyncio.timeout(None if deadline is None else max(0.0, deadline - self._clock())):
                return await self._inbox.get()
        except TimeoutError:
            return ev.Tick()

    # --- from the reading thread

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop has gone before the thread
            logger.warning("an event came after the end", extra={"part": function.__name__})

    def _read(self, event: reading.Event, group: Any) -> None:
        if group is not None:
            self._group = group
        match event:
            case reading.Polled(records):
                if records:
                    failpoint("sink.read")
                    self._inbox.put_nowait(ev.Polled(records))
                self._intake.taken()
            case reading.Assigned(partitions):
                self.assigned = True
                self._inbox.put_nowait(ev.Assigned(tuple(partitions)))
            case reading.Revoked(partitions) | reading.Lost(partitions):
                self._inbox.put_nowait(ev.Taken(tuple(partitions)))

    def _reading_failed(self, error: Exception) -> None:
        logger.error("reading ended", exc_info=error, extra={"reason": str(error)})
        self.failure = error
        self.stop()

    # --- effects

    def _begin(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Write(endings):
                self._task(self._write(endings))
            case fx.Commit(offsets):
                self._task(self._commit(offsets))
            case fx.Pause(partitions):
                logger.warning("reading pauses: too much waits to be written", extra={"held": self._machine.held})
                self._intake.pause(partitions)
            case fx.Resume(partitions):
                self._intake.resume(partitions)

    def _task(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, endings: Sequence[Ending]) -> None:
        event: ev.Event
        try:
            changed = set(await self._predictions.end(endings))
            failpoint("sink.written")
            rest = [ending.id for ending in endings if ending.id not in changed]
            unknown = len(rest) - len(await self._predictions.existing(rest)) if rest else 0
            event = ev.Written(len(changed), unknown)
        except UpstreamUnavailable as error:
            logger.warning("endings cannot be written at present", extra={"reason": error.message})
            event = ev.WriteFailed(error.message)
        except Exception as error:
            # Payloads stay out of the log; which prediction it was says where to look.
            alone = endings[0].id if len(endings) == 1 else None
            logger.error("endings were refused", exc_info=error, extra={"batch_size": len(endings), "request_id": alone})
            event = ev.WriteRefused(type(error).__name__)
        self._inbox.put_nowait(event)

    async def _commit(self, offsets: Mapping[Partition, int]) -> None:
        event: ev.Event
        try:
            await self._loop.run_in_executor(self._committer, self._commit_now, offsets)
            failpoint("sink.committed")
            event = ev.Committed()
        except BrokerError as error:
            logger.warning("offsets cannot be committed at present", extra={"reason": error.message})
            event = ev.CommitFailed(error.message)
        except Exception as error:
            logger.error("committing failed", exc_info=error)
            event = ev.CommitFailed(type(error).__name__)
        self._inbox.put_nowait(event)

    def _commit_now(self, offsets: Mapping[Partition, int]) -> None:
        self._group.commit(offsets)
