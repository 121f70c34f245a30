"""The one task that asks how the queues stand, every few seconds, whoever reads it and however many.

    task --look (a thread)--> figures --document--> GET /queues, /metrics
      |                                        \\--> followers: each gets the newest document when there is a newer one
      \\-- a look that fails: what was found before stays, and its age is told

Invariant: a reader costs the broker nothing, and a broker that is away or slow holds up no reader.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from penstock.errors import Internal, Overloaded, PenstockError
from penstock.lifecycle import Lifecycle, State, StopPhase
from penstock_transformer.predictions.port import Backlog
from penstock_transformer.queues.figures import (
    AWAY,
    STARTING,
    UP,
    BrokerState,
    DatabaseQueue,
    Queues,
    WorkerFigures,
    database_queue,
    encode,
)
from penstock_transformer.queues.looking import Looker, ModelFigures

logger = logging.getLogger(__name__)

MOST_FOLLOWERS = 200
_LONGEST_PAUSE = 10
"""Rounds between two looks while the broker is away, at most."""
_LOOKS_APART = 20
"""A look at the database is followed by so many times its length without one."""


class QueueMonitor:
    """Watches the queues of one model. Any of its three sources may be missing. On the event loop's thread."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        *,
        looker: Looker | None = None,
        refresh_s: float = 2.0,
        worker: Callable[[], WorkerFigures | None] | None = None,
        backlog: Callable[[], Awaitable[Sequence[Backlog] | None]] | None = None,
    ) -> None:
        self.looker = looker
        self._refresh_s = refresh_s
        self._worker = worker
        self._backlog = backlog
        self._figures: ModelFigures | None = None
        self._looked_at = 0.0
        self._state = STARTING
        self._since_s = time.time()
        self._message: str | None = None
        self._database: list[DatabaseQueue] | None = None
        self._database_due = 0.0
        self._database_message: str | None = None
        self._version = 0
        self._followers = 0
        self._failures = 0
        self._newer = asyncio.Condition()
        self._soon = asyncio.Event()
        self._leaving = False
        self._thread = ThreadPoolExecutor(1, "queues")
        self._task: asyncio.Task[None] | None = None
        lifecycle.on_start("queues", self.start)
        lifecycle.on_stop("queues", self.close, StopPhase.RELEASE)
        lifecycle.add_listener(self._on_state)

    async def start(self) -> None:
        """Begin to look. Waits for nothing: a broker that is away keeps no process from being ready."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.looker is not None:
            with contextlib.suppress(Exception):
                await asyncio.get_running_loop().run_in_executor(self._thread, self.looker.close)
        self._thread.shutdown(wait=False)

    def look_soon(self) -> None:
        """Something has changed: do not wait for the next round."""
        self._soon.set()

    def queues(self, model: str | None = None) -> Queues:
        """How the queues stand, as far as is known; of one model, or of all."""
        figures, database = self._figures, self._database
        return Queues(
            at_s=round(time.time(), 3),
            broker=self._broker(),
            models=[] if figures is None or model not in (None, figures.model) else [figures],
            worker=None if self._worker is None else self._worker(),
            database=None if database is None else [backlog for backlog in database if model in (None, backlog.model)],
            database_message=self._database_message,
        )

    @contextlib.asynccontextmanager
    async def follow(self, model: str | None = None) -> AsyncIterator[AsyncIterator[tuple[int, bytes]]]:
        """Documents as they come, each with its number, beginning with the present one; a reader that is slow misses some and
        always gets the newest. Ends when this process stops. Raises Overloaded."""
        if self._followers >= MOST_FOLLOWERS:
            raise Overloaded("too many follow the queues", retry_after_s=10.0)
        self._followers += 1
        try:
            yield self._documents(model)
        finally:
            self._followers -= 1

    async def _documents(self, model: str | None) -> AsyncIterator[tuple[int, bytes]]:
        seen = -1
        while not self._leaving:
            seen = self._version
            yield seen, encode(self.queues(model))
            async with self._newer:
                while self._version == seen and not self._leaving:
                    await self._newer.wait()

    def _broker(self) -> BrokerState | None:
        if self.looker is None:
            return None
        age_s = None if self._figures is None else round(time.monotonic() - self._looked_at, 3)
        return BrokerState(self._state, round(self._since_s, 3), self._message, age_s)

    async def _run(self) -> None:
        while True:
            if self.looker is not None:
                await self._look(self.looker)
            if self._backlog is not None:
                await self._ask_database(self._backlog)
            await self._tell()
            self._soon.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), self._refresh_s * min(1 + self._failures, _LONGEST_PAUSE))

    async def _look(self, looker: Looker) -> None:
        try:
            figures = await asyncio.get_running_loop().run_in_executor(self._thread, looker.look)
        except PenstockError as error:
            self._fail(error.message)
        except Exception:
            logger.exception("the queues could not be looked at")
            self._fail(Internal().message)
        else:
            self._figures, self._looked_at = figures, time.monotonic()
            self._failures = 0
            self._become(UP, None)

    def _fail(self, message: str) -> None:
        self._failures += 1
        if self._state != AWAY:
            logger.warning("the broker cannot be asked about the queues", extra={"reason": message})
        self._become(AWAY, message)

    def _become(self, state: str, message: str | None) -> None:
        if state != self._state:
            self._state, self._since_s = state, time.time()
        self._message = message

    async def _ask_database(self, backlog: Callable[[], Awaitable[Sequence[Backlog] | None]]) -> None:
        began = time.monotonic()
        if began < self._database_due:
            return
        try:
            found = await backlog()
        except PenstockError as error:
            self._database_message = error.message
        except Exception:
            # As with the broker: one look that fails is not the end of all looks.
            logger.exception("the database could not be asked about its queue")
            self._database_message = Internal().message
        else:
            self._database, self._database_message = None if found is None else [database_queue(one) for one in found], None
        # Counting a long queue takes the database a while: it is asked the less often, the longer it takes.
        self._database_due = began + _LOOKS_APART * (time.monotonic() - began)

    async def _tell(self) -> None:
        self._version += 1
        async with self._newer:
            self._newer.notify_all()

    def _on_state(self, state: State) -> None:
        if state is State.DRAINING:
            self._leaving = True
            self._ending = asyncio.ensure_future(self._tell())
