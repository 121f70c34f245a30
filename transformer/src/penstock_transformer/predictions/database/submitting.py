r"""Submits in group commits: requests that wait at the same moment are one transaction, with their intents.

    submit --> waiting (bounded in items and bytes) --> batch --INSERT ... ON CONFLICT DO NOTHING RETURNING--> new: its sequence
                    ^                                                              \--> was there: the first one, or KeyReused
                    '-- while one batch commits, the next gathers

At low load a batch is one request and waits for nobody. A commit is durable before anybody is told of it. A caller that leaves is
left out of a batch that has not begun; in one that has, his row is written, as if he had left a moment later. A row that the
database refuses is refused alone: its batch is written again without it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from penstock.errors import Internal, NotReady, Overloaded, UpstreamUnavailable
from penstock.failpoints import failpoint
from penstock_transformer.predictions.database.rows import check_text
from penstock_transformer.predictions.database.settings import DatabaseSettings
from penstock_transformer.predictions.resource import NewPrediction, Prediction

Answer = tuple[Prediction, bool]
# Writes some; for each its prediction and whether it is new, or the exception that answers it, or None for "again".
Write = Callable[[Sequence[NewPrediction]], Awaitable[Sequence[Answer | Exception | None]]]

_TRIES = 5
_LEAST_RETRY_S, _MOST_RETRY_S = 0.05, 30.0
# Of the rate that is observed, the share that the latest batch has.
_WEIGHT = 0.2


class _Entry:
    __slots__ = ("future", "nbytes", "new", "tries")

    def __init__(self, new: NewPrediction) -> None:
        self.new = new
        self.nbytes = 500 + len(new.payload.body or b"")
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.tries = 0


class Submitting:
    """The submits of one process, on the event loop's thread."""

    def __init__(self, write: Write, settings: DatabaseSettings) -> None:
        self._write = write
        self._settings = settings
        self._waiting: deque[_Entry] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._item_s = 1e-3
        self._closed = False

    async def submit(self, new: NewPrediction) -> Answer:
        """As `Predictions.submit`."""
        check_text(new)
        if self._closed:
            raise NotReady("the predictions database is closed")
        entry = _Entry(new)
        settings = self._settings
        full = self._waiting and self._bytes + entry.nbytes > settings.queue_bytes
        if full or len(self._waiting) >= settings.queue_items:
            wait_s = min(max(len(self._waiting) * self._item_s, _LEAST_RETRY_S), _MOST_RETRY_S)
            raise Overloaded(f"{len(self._waiting)} predictions wait for the database", retry_after_s=wait_s)
        self._waiting.append(entry)
        self._bytes += entry.nbytes
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return await entry.future

    async def close(self) -> None:
        """Write what waits, then refuse."""
        self._closed = True
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        # One turn of the loop first: whoever is about to submit in this turn shares the batch.
        await asyncio.sleep(0)
        while batch := self._take():
            began = time.monotonic()
            await self._commit(batch)
            self._item_s += _WEIGHT * ((time.monotonic() - began) / len(batch) - self._item_s)
        self._task = None

    def _take(self) -> list[_Entry]:
        batch: list[_Entry] = []
        room = self._settings.batch_bytes
        while self._waiting and len(batch) < self._settings.batch_items and (not batch or self._waiting[0].nbytes <= room):
            entry = self._waiting.popleft()
            self._bytes -= entry.nbytes
            if not entry.future.done():
                room -= entry.nbytes
                batch.append(entry)
        return batch

    async def _commit(self, batch: list[_Entry]) -> None:
        try:
            answers = await self._write([entry.new for entry in batch])
        except UpstreamUnavailable as error:
            for entry in batch:
                _fail(entry, error)
            return
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for entry in batch:
                await self._commit([entry])
            return
        failpoint("submit.written")
        for entry, answer in zip(batch, answers, strict=True):
            self._answer(entry, answer)

    def _answer(self, entry: _Entry, answer: Answer | Exception | None) -> None:
        if isinstance(answer, Exception):
            _fail(entry, answer)
        elif answer is not None:
            if not entry.future.done():
                entry.future.set_result(answer)
        elif entry.tries < _TRIES:
            # It was in the way of this one and was removed meanwhile.
            entry.tries += 1
            self._waiting.appendleft(entry)
            self._bytes += entry.nbytes
        else:
            _fail(entry, Internal("the prediction could not be written"))


def _fail(entry: _Entry, error: Exception) -> None:
    if not entry.future.done():
        entry.future.set_exception(error)
