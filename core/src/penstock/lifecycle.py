"""The states a process goes through, and the order in which it comes up and goes down.

    starting --(start hooks done: loaded, warm)--> ready --(SIGTERM)--> draining --(stop hooks done)--> stopped

Ready means warm: a process reports ready only after every start hook has finished and while every check passes. Going down
follows one order, whoever asks: report not ready, keep serving (routers need time to notice), stop intake, finish what was
taken, commit, release. The server does the first three; members register the rest as stop hooks, in the phases below.

Invariant: states only move forward, and every hook runs at most once.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from enum import IntEnum, StrEnum

logger = logging.getLogger(__name__)

Hook = Callable[[], Awaitable[None]]
Check = Callable[[], str | None]


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


class StopPhase(IntEnum):
    """When a stop hook runs. Hooks of one phase run in the reverse of the order they were registered in."""

    INTAKE = 0
    """Stop taking work that does not come over the server's own sockets (consumers, pollers)."""
    FINISH = 1
    """Finish what was taken: drain batchers, await tasks."""
    COMMIT = 2
    """Make results durable: flush producers, commit offsets."""
    RELEASE = 3
    """Close sessions, stores, pools."""


class Lifecycle:
    """One process's state, its start and stop hooks, and its readiness checks. Used on the event loop's thread.

    `state` is read on the hot path and is a plain attribute; nothing but this class writes it.
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.failure: BaseException | None = None
        self._start: list[tuple[str, Hook]] = []
        self._stop: list[tuple[StopPhase, str, Hook]] = []
        self._checks: dict[str, Check] = {}
        self._unprobed: set[str] = set()
        self._listeners: list[Callable[[State], None]] = []

    def on_start(self, name: str, hook: Hook) -> None:
        """Run `hook` before the process is ready, after those registered before it. `name` is for the log."""
        self._start.append((name, hook))

    def on_stop(self, name: str, hook: Hook, phase: StopPhase = StopPhase.RELEASE) -> None:
        """Run `hook` while the process stops. A hook that raises is logged and does not keep the others from running."""
        self._stop.append((phase, name, hook))

    def add_check(self, name: str, check: Check, *, probed: bool = True) -> None:
        """Hold readiness while `check` returns a reason. Called at every readiness probe: it must be cheap and must not block.

        `probed` False: probes of the admin port pass it over, which are those of programs that nobody sends requests to.
        """
        self._checks[name] = check
        if not probed:
            self._unprobed.add(name)

    def add_listener(self, listener: Callable[[State], None]) -> None:
        """Call `listener` with each new state."""
        self._listeners.append(listener)

    @property
    def ready(self) -> bool:
        return self.state is State.READY and not self.reasons()

    def reasons(self) -> dict[str, str]:
        """Why the process is not ready, by check; empty when it is."""
        return {name: reason for name, reason in self.looks().items() if reason is not None}

    def probed_reasons(self) -> dict[str, str]:
        """The same without the checks that probes of the admin port pass over."""
        return {name: reason for name, reason in self.reasons().items() if name not in self._unprobed}

    def looks(self) -> dict[str, str | None]:
        """What each check says now: why it holds readiness, or None. The state is the check `lifecycle`."""
        found: dict[str, str | None] = {"lifecycle": None if self.state is State.READY else self.state.value}
        for name, check in self._checks.items():
            found[name] = check()
        return found

    async def start(self) -> None:
        """Run the start hooks, then be ready. A hook that raises ends the start; the error is kept in `failure` and raised."""
        for name, hook in self._start:
            began = time.monotonic()
            try:
                await hook()
            except Exception as error:
                self.failure = error
                raise
            logger.info("started", extra={"part": name, "duration_ms": _ms_since(began)})
        if self.state is State.STARTING:
            self._move(State.READY)

    def drain(self) -> None:
        """Report not ready from now on. Serving goes on; the server stops its intake later."""
        if self.state in (State.STARTING, State.READY):
            self._move(State.DRAINING)

    async def stop(self, timeout_s: float = 30.0) -> None:
        """Run the stop hooks, phase by phase, within `timeout_s` in all; then be stopped. Never raises."""
        if self.state is State.STOPPED:
            return
        self.drain()
        deadline = time.monotonic() + timeout_s
        self._stop.reverse()
        hooks = sorted(self._stop, key=lambda entry: entry[0])
        self._stop = []
        for phase, name, hook in hooks:
            extra = {"part": name, "phase": phase.name.lower()}
            try:
                async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                    await hook()
            except Exception as error:
                logger.error("stop hook failed", exc_info=error, extra=extra)
        self._move(State.STOPPED)

    def _move(self, state: State) -> None:
        self.state = state
        for listener in self._listeners:
            listener(state)


def _ms_since(began: float) -> float:
    return round((time.monotonic() - began) * 1e3, 1)
