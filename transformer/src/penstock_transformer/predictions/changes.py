"""Who in this process waits for news of a prediction, or for work of a model.

    end, cancel, claim --tell(id, state)--> watchers of that prediction        submit --arrived(model)--> queues of that model
    the notifications were cut off -------> missed(): everybody looks for himself

A watcher subscribes first and reads the prediction then, so that nothing falls between the two; what it is told twice, or too
late, it leaves out, because a prediction's stage only goes forward.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

from penstock_transformer.predictions.resource import ENDED, State, stage

Read = Callable[[], Awaitable[State]]
ANY_MODEL = ""
"""In place of a model's name: for who takes the work of all of them (the relay)."""


class _Watcher:
    """One who waits. `missed` says that the states told may lack some."""

    __slots__ = ("event", "missed", "states")

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.states: list[State] = []
        self.missed = False


class Changes:
    """The watchers of one process. Everything here runs on the event loop's thread."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[_Watcher]] = {}
        self._queues: dict[str, set[Callable[[], None]]] = {}

    def tell(self, prediction_id: str, state: State) -> None:
        """A prediction is in this state now."""
        for watcher in self._watchers.get(prediction_id, ()):
            watcher.states.append(state)
            watcher.event.set()

    def arrived(self, model: str) -> None:
        """Something may wait for this model."""
        for wake in (*self._queues.get(model, ()), *self._queues.get(ANY_MODEL, ())):
            wake()

    def missed(self) -> None:
        """Notifications may have been lost: all watchers read again, all queues look."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.missed = True
                watcher.event.set()
        for model in tuple(self._queues):
            self.arrived(model)

    def arrivals(self, model: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called when something arrives for the model; the function that ends that."""
        queues = self._queues.setdefault(model, set())
        queues.add(wake)
        return lambda: queues.discard(wake)

    @asynccontextmanager
    async def watch(self, prediction_id: str, read: Read) -> AsyncGenerator[AsyncIterator[State]]:
        """The states of one prediction, its present one (which `read` gives, and raises what it likes) first."""
        watcher = _Watcher()
        self._watchers.setdefault(prediction_id, set()).add(watcher)
        try:
            async with aclosing(_states(watcher, await read(), read)) as states:
                yield states
        finally:
            watchers = self._watchers[prediction_id]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[prediction_id]


async def _states(watcher: _Watcher, first: State, read: Read) -> AsyncGenerator[State]:
    last = first
    yield last
    while last not in ENDED:
        await watcher.event.wait()
        watcher.event.clear()
        told, watcher.states = watcher.states, []
        if watcher.missed:
            watcher.missed = False
            told.append(await read())
        for state in told:
            if stage(state) > stage(last):
                last = state
                yield last
