"""The asyncio shell around the deadline-first queue: when to take a batch, where to run it, and who is told what.

    submit --push--> queue --take (loop is free)--> compute --> deliver
                                                    |  inline, on the loop: small runs
                                                    |  in the worker thread: dear runs; the next starts before answers are written
                                                    +- as a task: coroutines, several in flight

A batch is taken with `call_soon`, that is after the loop has read every socket that was ready: what arrived together runs
together, and one request alone waits for nothing. Every work is answered exactly once, whatever compute, deliver or its
batch-mates do.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from penstock.batcher.alarm import Alarm
from penstock.batcher.answering import Answering, Deliver
from penstock.batcher.inline import InlineGuard
from penstock.batcher.policy import BatchPolicy
from penstock.batcher.pressure import Pressure
from penstock.batcher.queue import Batch, DeadlineQueue
from penstock.batcher.rate import ServiceRate
from penstock.batcher.tasks import Tasks
from penstock.batcher.work import BatchMetrics, W, answerable, count, fail
from penstock.batcher.worker import Worker
from penstock.dataplane import Context
from penstock.errors import NotReady, PenstockError

R = TypeVar("R")

logger = logging.getLogger(__name__)

_monotonic = time.monotonic
_thread_time = time.thread_time
_NEVER = float("inf")


class Batcher(Generic[W, R]):
    """Turns single works into runs of `compute` and hands each run's result to `deliver`. Used on one event loop's thread.

    `compute(works)` gets works of equal keys, most urgent first, and never runs beside itself unless it is a coroutine function
    (`coroutine=True`), of which up to `max_in_flight` run at once. `deliver(works, result)` answers each of them, on the loop;
    where it gives an iterator it answers step by step, and the loop looks at its sockets in between (see `answering`).
    If compute raises a PenstockError, that is the answer to its whole batch; anything else is logged and answered with Internal.
    """

    __slots__ = (
        "_alarm", "_answering", "_compute", "_coroutine", "_direct_from", "_draining", "_idle", "_inline", "_loop", "_metrics",
        "_policy", "_pressing", "_queue", "_rate", "_scheduled", "_tasks", "_worker", "in_flight", "pressure",
    )  # fmt: skip

    def __init__(
        self,
        compute: Callable[[list[W]], R] | Callable[[list[W]], Awaitable[R]],
        deliver: Deliver[W],
        policy: BatchPolicy,
        *,
        metrics: BatchMetrics | None = None,
        coroutine: bool = False,
        pressure: Pressure | None = None,
    ) -> None:
        self._compute: Callable[[list[W]], Any] = compute
        self._answering: Answering[W] = Answering(deliver, self._written)
        self._policy = policy
        self._inline = InlineGuard(policy.inline_rows, policy.inline_grace_ms / 1e3)
        self._metrics = metrics
        self._coroutine = coroutine
        self.pressure = pressure or Pressure()
        # While works are refused: how many waited when that began.
        self._pressing = 0
        self._rate = ServiceRate(policy.max_rows)
        self._queue: DeadlineQueue[W] = DeadlineQueue(policy, self._rate)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._tasks: Tasks[W] = Tasks(self._compute, self._finish)
        self._scheduled = False
        self._alarm = Alarm(self._wake)
        self._idle: asyncio.Event | None = None
        self._draining = False
        # From this moment on a work runs at once; never while works come together, or while one is being answered.
        self._direct_from = _NEVER
        self.in_flight = 0
        """Runs that have begun and are not over."""

    @property
    def policy(self) -> BatchPolicy:
        """The bounds that this batcher keeps."""
        return self._policy

    @property
    def queued_items(self) -> int:
        """Works that wait."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """Bytes of the works that wait."""
        return self._queue.nbytes

    @property
    def queued_rows(self) -> int:
        """Rows of the works that wait."""
        return self._queue.rows

    def submit(self, work: W) -> None:
        """Take a work in; it is answered later or, with `direct_after_us`, now. Never raises or blocks; on the loop's thread."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if self._draining:
            loop.call_soon(fail, work, NotReady("the server is shutting down"))
            return
        now = _monotonic()
        if now >= self._direct_from and self._may_run_now(work, now):
            self._run_direct(work, now)
            return
        refusal = self._queue.push(work, now)
        if refusal is not None and refusal.retryable:
            if self._queue.sweep_due(now):
                self._expire(now)
                refusal = self._queue.push(work, now)
            if refusal is not None and not self._pressing:
                self._pressing = max(self._queue.items, 1)
                self.pressure.batchers += 1
        if refusal is not None:
            loop.call_soon(fail, work, refusal)
        elif not self._scheduled:
            self._schedule(loop, work.context.deadline, now)

    def refusal(self, context: Context) -> PenstockError | None:
        """Why a work with this context would be refused now, or None: for shells that would rather not decode it."""
        return self._queue.refusal(context, _monotonic())

    async def drain(self) -> None:
        """Refuse new works with NotReady, finish those that wait, and return when every one of them has been answered."""
        self._draining = True
        self._take_soon()
        while self._queue or self.in_flight or self._answering:
            if self._idle is None:
                self._idle = asyncio.Event()
            await self._idle.wait()
            self._idle.clear()

    def close(self) -> None:
        """Refuse everything from now on: what waits is answered with NotReady, coroutines are cancelled and answered alike.

        A run in the worker thread ends in its own time and is delivered if the loop still runs. Call after `drain`.
        """
        self._draining = True
        self._alarm.clear()
        for work in self._queue.clear():
            fail(work, NotReady("the server is shutting down"))
        self._tasks.close()
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        self._settle()

    def _schedule(self, loop: asyncio.AbstractEventLoop, deadline: float | None, now: float) -> None:
        """See to it that the work just queued is looked at: soon, when its batch has waited long enough, or at its deadline."""
        policy = self._policy
        if self._full():
            if deadline is not None:
                self._alarm.set(deadline, now)
            return
        delay_ms = self._delay_ms()
        if delay_ms and self._queue.rows < policy.max_rows:
            ripe = now + delay_ms / 1000
            if deadline is None or deadline > ripe:
                self._alarm.set(ripe, now)
                return
        self._scheduled = True
        loop.call_soon(self._take)

    def _take_soon(self) -> None:
        if self._queue and not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._take)

    def _wake(self) -> None:
        """The alarm: a batch has waited long enough, or somebody's deadline has come."""
        self._expire(_monotonic())
        self._take()

    def _expire(self, now: float) -> None:
        for work, error in self._queue.expire(now):
            fail(work, error)

    def _take(self) -> None:
        """Start whatever may be started now. An inline run hands the loop back after one batch."""
        self._scheduled = False
        queue = self._queue
        while queue and not self._full():
            now = _monotonic()
            delay_ms = self._delay_ms()
            if delay_ms and self._unripe(now, delay_ms):
                break
            batch = queue.take(now)
            inline = bool(batch.works) and self._start(batch, now)
            for work, error in batch.dropped:
                fail(work, error)
            if inline:
                self._take_soon()
                break
        else:
            if queue.dated and not self._alarm.is_set:
                self._alarm.set(queue.next_deadline() or 0.0, _monotonic())
        self._settle()

    def _full(self) -> bool:
        """Whether as many runs as may be have begun, or too many wait for their answers."""
        most = self._policy.max_in_flight
        return self.in_flight >= most or len(self._answering) > most

    def _delay_ms(self) -> float:
        """How long the next run waits for company."""
        policy = self._policy
        return max(policy.max_delay_ms, policy.follow_delay_ms) if self.in_flight else policy.max_delay_ms

    def _unripe(self, now: float, delay_ms: float) -> bool:
        """Whether the batch to come should wait for company; if so, sets the alarm."""
        queue, policy = self._queue, self._policy
        oldest = queue.oldest_arrival()
        if self._draining or oldest is None or queue.rows >= policy.max_rows:
            return False
        ripe = oldest + delay_ms / 1000
        deadline = queue.next_deadline()
        if ripe <= now + 0.0005 or (deadline is not None and deadline <= ripe):
            return False
        self._alarm.set(ripe, now)
        return True

    def _start(self, batch: Batch[W], now: float) -> bool:
        """Begin a run where it belongs; True if it was inline, and so is over."""
        works = batch.works
        self.in_flight += 1
        self._rate.started(now, len(works) if self._queue.items else 0)
        if self._pressing:
            self.pressure.turns += 1
        count(self._metrics, batch.rows, [now - arrived for arrived in batch.arrivals])
        if self._coroutine:
            assert self._loop is not None
            self._tasks.start(self._loop, works, now)
        elif batch.rows <= self._inline.rows and self.in_flight == 1:
            self._run_inline(works, now)
            return True
        else:
            if self._worker is None:
                self._worker = Worker("penstock-batcher")
            self._worker.run(lambda: self._run_in_thread(works, now))
        return False

    def _may_run_now(self, work: W, now: float) -> bool:
        deadline = work.context.deadline
        return (
            not self._queue
            and not self.in_flight
            and work.rows <= self._inline.rows
            and work.nbytes <= self._policy.max_queue_bytes
            and (deadline is None or deadline > now)
            and not work.disconnected
        )

    def _run_direct(self, work: W, now: float) -> None:
        self.in_flight += 1
        self._rate.started(now)
        count(self._metrics, work.rows, [0.0])
        self._run_inline([work], now)
        self._settle()

    def _run_inline(self, works: list[W], began: float) -> None:
        # An answer may bring the next work of its connection: that one queues, or a long pipeline would nest without end.
        self._direct_from = _NEVER
        result, error = None, None
        guard = self._inline
        watched_from = _thread_time() if guard.watched else None
        try:
            result = self._compute(works)
        except Exception as caught:
            error = answerable(caught)
        ended = self._end_run(works, began)
        if watched_from is not None:
            if guard.note(_thread_time() - watched_from):
                logger.warning("runs take too long for the event loop, moved to a thread", extra={"batch_size": len(works)})
        elif ended - began > guard.grace_s:
            guard.watch()
        self._answering.write(works, result, error, at_once=True)
        if self._policy.direct_after_us and len(works) == 1:
            self._direct_from = _monotonic() + self._policy.direct_after_us / 1e6

    def _run_in_thread(self, works: list[W], began: float) -> None:
        """In the worker thread: run, and hand the outcome to the loop."""
        result, error = None, None
        try:
            result = self._compute(works)
        except BaseException as caught:
            error = answerable(caught)
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._finish, works, began, result, error)
        except RuntimeError:
            logger.warning("run ended after its event loop was closed", extra={"batch_size": len(works)})

    def _end_run(self, works: list[W], began: float) -> float:
        """The time at which the run ended."""
        self.in_flight -= 1
        waiting = self._queue.items
        now = _monotonic()
        self._rate.finished(len(works), now, idle=not self.in_flight and not waiting, began=began)
        if self._pressing and waiting <= self._pressing // 2:
            self._relieve()
        return now

    def _relieve(self) -> None:
        self._pressing = 0
        self.pressure.batchers -= 1
        self.pressure.turns += 1

    def _finish(self, works: list[W], began: float, result: Any, error: PenstockError | None) -> None:
        """A run that was not inline is over: start the next one, and only then write this one's answers."""
        self._end_run(works, began)
        if self._queue:
            self._take()
        self._answering.write(works, result, error)
        self._settle()

    def _written(self) -> None:
        """All answers of a run are written: no other waits for them any more."""
        self._take_soon()
        self._settle()

    def _settle(self) -> None:
        """If nothing waits and nothing runs, the pace is at rest, and `drain` may look again."""
        if not self.in_flight and not self._queue.items:
            if self._rate.since is not None:
                self._rate.rest()
            if self._pressing:
                self._relieve()
            if self._idle is not None:
                self._idle.set()
