"""The worker's input and output: two threads that speak to the broker, the pipeline on the event loop, the machine between them.

    intake thread --events--> loop: Machine.handle --effects--> outlet thread, pipeline, timers, intake thread

It carries out what the machine asks for and tells it what came of that; it decides nothing.

Invariant: the machine is called on the event loop's thread alone, one event after the other; effects are carried out in order.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from random import Random
from typing import Any

from penstock.metrics import LATENCY_BOUNDS_S, Histogram
from penstock_transformer.broker.port import Intake, Outlet
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.reaching import reached
from penstock_transformer.worker import effects, events
from penstock_transformer.worker.events import Event
from penstock_transformer.worker.intake_thread import IntakeThread
from penstock_transformer.worker.machine import Machine
from penstock_transformer.worker.outcomes import Outcome, Predicting
from penstock_transformer.worker.outlet_thread import OutletThread
from penstock_transformer.worker.policy import Policy

logger = logging.getLogger(__name__)

# So many records enter the pipeline in one turn of the loop; others get theirs in between.
_CHUNK = 256
_PROBE_S = 10.0
_JOIN_S = 30.0
# What tells that a call of the outlet has ended.
_BACK = (events.CommitDone, events.CommitFailed, events.Restored, events.RestoreFailed)


class WorkerShell:
    """One worker over an intake, an outlet and the pipeline. All methods on the event loop's thread.

    `stopped` ends with the machine's `Stop`; until `close`, intake and outlet stay open. `patience_s`: longer than the bounds
    that a call of the outlet keeps by itself.
    """

    def __init__(
        self,
        intake: Intake,
        outlet: Outlet,
        predicting: Predicting,
        topics: Sequence[str],
        *,
        policy: Policy | None = None,
        poll_records: int = 500,
        gather_s: float = 0.0,
        patience_s: float = 300.0,
        random: Random | None = None,
    ) -> None:
        self._random = random or Random()
        self.policy = policy or Policy()
        self.machine = Machine(self.policy, predicting, self._random)
        self.assigned = False
        self.commits = Histogram(LATENCY_BOUNDS_S)
        self._loop = asyncio.get_running_loop()
        self.stopped: asyncio.Future[effects.Stop] = self._loop.create_future()
        self._predicting = predicting
        self._group: Any = None
        self._outcomes: list[tuple[Record, Outcome]] = []
        self._releases: list[tuple[Sequence[Partition], Callable[[], None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._committing_since = 0.0
        self._patience_s = patience_s
        self._patience: asyncio.TimerHandle | None = None
        self._closed = False
        self._outlet = OutletThread(outlet, self._post)
        self._intake = IntakeThread(
            intake,
            topics,
            tell=self._post_read,
            release=lambda partitions, free: self._call(self._release, partitions, free),
            failed=lambda error: self._call(self._reading_failed, error),
            poll_records=poll_records,
            gather_s=gather_s,
        )
        self._carry: dict[type, Callable[[Any], None]] = {
            effects.Predict: self._predict,
            effects.Pause: lambda effect: self._intake.pause(effect.partitions),
            effects.Resume: lambda effect: self._intake.resume(effect.partitions),
            effects.Commit: self._commit,
            effects.Restore: self._restore,
            effects.AskCommitted: lambda effect: self._intake.ask_committed(effect.partitions),
            effects.Regroup: lambda _: self._intake.regroup(),
            effects.Probe: lambda _: self._probe(),
            effects.WakeAt: self._wake_at,
            effects.Stop: self._stop,
        }

    async def start(self) -> None:
        """Take the transactional id over, however long the broker is away, then begin to read. Raises BrokerError, Fenced."""
        await reached("broker", lambda: asyncio.wrap_future(self._outlet.open()))
        self._intake.start()

    async def drain(self, grace_s: float) -> None:
        """Take no more, finish and commit what is in flight within `grace_s`; returns when that is done."""
        self._handle(events.Drain(time.monotonic() + grace_s))
        await self.stopped

    async def close(self) -> None:
        """Leave the group, close the outlet. What is not committed by now is somebody else's to do."""
        self._closed = True
        if not self.stopped.done():
            self.stopped.set_result(effects.Stop("closed", 0))
        self.machine.stopped = True
        for timer in (self._timer, self._patience):
            if timer is not None:
                timer.cancel()
        self._intake.stop()
        left = await asyncio.to_thread(self._intake.join, _JOIN_S)
        if not left:
            logger.warning("the reading thread did not end in time")
        closing: Future[None] = self._outlet.close()
        try:
            await asyncio.wait_for(asyncio.wrap_future(closing), _JOIN_S)
        except Exception as error:
            logger.warning("the outlet could not be closed in order", extra={"reason": str(error) or type(error).__name__})
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- from the threads

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop has gone before the thread
            logger.warning("an event came after the end", extra={"part": function.__name__})

    def _post(self, event: Event) -> None:
        self._call(self._handle, event)

    def _post_read(self, event: Event, group: Any) -> None:
        self._call(self._handle_read, event, group)

    # --- on the loop

    def _handle_read(self, event: Event, group: Any) -> None:
        if group is not None:
            self._group = group
        if isinstance(event, events.Assigned):
            self.assigned = True
        if not isinstance(event, events.Polled) or event.records:
            self._handle(event)
        if isinstance(event, events.Polled):
            self._intake.taken()

    def _handle(self, event: Event) -> None:
        if isinstance(event, events.CommitDone | events.CommitFailed):
            self.commits.observe(time.monotonic() - self._committing_since)
        if isinstance(event, _BACK) and self._patience is not None:
            self._patience.cancel()
        self._log(event)
        for effect in self.machine.handle(event, time.monotonic()):
            self._carry[type(effect)](effect)
        if self._releases:
            self._let_go()

    def _log(self, event: Event) -> None:
        if isinstance(event, events.CommitFailed | events.RestoreFailed):
            fields = {"failure": event.failure.value, "reason": event.reason}
            logger.warning("commit failed" if isinstance(event, events.CommitFailed) else "outlet not restored", extra=fields)
        elif isinstance(event, events.Assigned | events.Revoked | events.Lost) and event.partitions:
            kind = type(event).__name__.lower()
            logger.info("partitions", extra={"change": kind, "partitions": [str(partition) for partition in event.partitions]})

    def _release(self, partitions: Sequence[Partition], free: Callable[[], None]) -> None:
        self._releases.append((partitions, free))
        self._let_go()

    def _let_go(self) -> None:
        waiting, self._releases = self._releases, []
        for partitions, free in waiting:
            if self._closed or self.machine.may_release(partitions):
                free()
            else:
                self._releases.append((partitions, free))

    def _reading_failed(self, error: Exception) -> None:
        logger.error("reading ended", exc_info=error, extra={"reason": str(error)})
        self.machine.stopped = True
        self._stop(effects.Stop(f"reading ended: {error}", 1))

    # --- effects

    def _predict(self, effect: effects.Predict) -> None:
        records = effect.records
        self._predicting.submit(records[:_CHUNK], self._done)
        for begin in range(_CHUNK, len(records), _CHUNK):
            self._loop.call_soon(self._predicting.submit, records[begin : begin + _CHUNK], self._done)

    def _done(self, record: Record, outcome: Outcome) -> None:
        if not self._outcomes:
            self._loop.call_soon(self._flush)
        self._outcomes.append((record, outcome))

    def _flush(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        self._handle(events.Outcomes(outcomes))

    def _commit(self, effect: effects.Commit) -> None:
        self._committing_since = time.monotonic()
        self._outlet.commit(effect, self._group)
        self._await_outlet()

    def _restore(self, _: effects.Restore) -> None:
        self._outlet.restore()
        self._await_outlet()

    def _await_outlet(self) -> None:
        self._patience = self._loop.call_later(self._patience_s, self._outlet_stuck)

    def _outlet_stuck(self) -> None:
        """No bound of its own ended the call: here its partitions would stand still for ever. Whoever comes after this process is
        given them, and takes the transaction over."""
        logger.error("the outlet did not come back", extra={"after_s": self._patience_s, "where": self._outlet.where()})
        self.machine.stopped = True
        self._stop(effects.Stop(f"the outlet did not come back within {self._patience_s:g} s", 1))

    def _probe(self) -> None:
        task = asyncio.ensure_future(self._probed())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _probed(self) -> None:
        try:
            async with asyncio.timeout(_PROBE_S):
                healthy = await self._predicting.healthy()
        except Exception as error:
            logger.warning("the probe failed", extra={"reason": str(error) or type(error).__name__})
            healthy = False
        self._handle(events.Health(healthy))

    def _wake_at(self, effect: effects.WakeAt) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0.0, effect.when - time.monotonic())
        self._timer = self._loop.call_later(delay_s, self._handle, events.Tick())

    def _stop(self, effect: effects.Stop) -> None:
        log = logger.error if effect.status else logger.info
        log("worker stops", extra={"reason": effect.reason, "status": effect.status})
        if not self.stopped.done():
            self.stopped.set_result(effect)
