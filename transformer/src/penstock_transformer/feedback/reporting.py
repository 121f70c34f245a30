"""Outcomes on their way to where they are kept: those that wait together are written together, on a thread of their own.

    report, report, … --bounded--> one write at a time --> each caller is answered

Invariant: a caller is answered after its outcome is kept, or with why it is not. A place that is away holds up nobody but those
who tell outcomes, and of them at most so many.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from penstock.errors import Overloaded
from penstock_transformer.feedback.outcome import Outcome

_MOST_WAITING = 1000
_MOST_AT_ONCE = 500


class Told(NamedTuple):
    """An outcome and its model."""

    model: str
    outcome: Outcome


class OutcomePlace(Protocol):
    """Keeps outcomes."""

    def report(self, told: Sequence[Told]) -> None:
        """Return once all of them are kept. Blocks, on any thread; raises PenstockError, OSError: then some may be."""


class Reporting:
    """Used on the event loop's thread."""

    def __init__(self, place: OutcomePlace) -> None:
        self._place = place
        self._executor = ThreadPoolExecutor(1, "outcomes")
        self._waiting: list[tuple[Told, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self.told = 0

    async def report(self, model: str, outcome: Outcome) -> None:
        """Return once it is kept. Raises Overloaded, and what the place raises."""
        if len(self._waiting) >= _MOST_WAITING:
            raise Overloaded("too many outcomes wait to be kept")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((Told(model, outcome), future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await future
        self.told += 1

    async def close(self) -> None:
        """Return when those that wait have been answered."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._executor.shutdown(wait=False)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
                error: BaseException | None = None
                try:
                    await loop.run_in_executor(self._executor, self._place.report, [told for told, _ in batch])
                except Exception as raised:
                    error = raised
                for _, future in batch:
                    _answer(future, error)
        finally:
            self._writing = None


def _answer(future: "asyncio.Future[None]", error: BaseException | None) -> None:
    if future.done():
        return  # the caller has gone
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
