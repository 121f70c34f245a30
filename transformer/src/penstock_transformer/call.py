"""One request on its way to a predictor: its bytes, its deadline, and who hears of its end.

Call --> Spread (which pod) --> Pool (which connection) --> Connection --> answered | lost --> Pool --> finish | Spread again
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from penstock.errors import DeadlineExceeded, NotReady, PenstockError, UpstreamUnavailable
from penstock_transformer.connection import Answer, Connection

if TYPE_CHECKING:
    from penstock_transformer.pool import Pool

ATTEMPTS = 2


class NoPod(UpstreamUnavailable):
    """There is no pod, or those that were tried refuse connections: nothing was begun, and another bundle may answer."""


class ConnectionEnded(UpstreamUnavailable):
    """The connection ended after a request had been sent over it and before the whole answer came: the predictor may have died
    of it, or by itself. `UpstreamUnavailable` as such says that nothing was begun.

    `one_pod`: not a byte of an answer had come, and no more than one pod has ended with it.
    """

    def __init__(self, message: str, *, one_pod: bool = False) -> None:
        super().__init__(message)
        self.one_pod = one_pod


def is_unplaced(error: PenstockError) -> bool:
    """Whether a call found no pod of its bundle, so that another bundle of the route may answer. Not so where it timed out, was
    answered in part, or has ended two pods: what ends predictors is not sent on to those of the next bundle."""
    return isinstance(error, NoPod) or (isinstance(error, ConnectionEnded) and error.one_pod)


def of_both_tries(error: PenstockError) -> PenstockError:
    """The error of a second try, where the first ended with its connection: that a restarting predictor refuses the second says
    nothing of what ended the first."""
    again = isinstance(error, UpstreamUnavailable | NotReady) and not isinstance(error, ConnectionEnded)
    return ConnectionEnded(error.message, one_pod=isinstance(error, NoPod)) if again else error


class Caller(Protocol):
    """Who waits for a call's answer."""

    @property
    def disconnected(self) -> bool: ...


class Call:
    """`done` hears of the end once: an `Answer`, or the error.

    `deadline` in seconds of `time.monotonic()`; `prefer`: the digest that the pod should hold, "" for any; `rows`: what the call
    counts for where pods are compared; `caller`: once it is gone, the call is given up. `ended_at`: where a
    connection ended with it last, None if none has.
    """

    __slots__ = (
        "attempts", "caller", "connection", "deadline", "done", "ended_at", "finished", "nbytes", "parts", "pool", "prefer",
        "rows", "timer",
    )  # fmt: skip

    def __init__(
        self,
        parts: list[bytes],
        deadline: float,
        done: Callable[[Answer | PenstockError], None],
        prefer: str = "",
        *,
        rows: int = 1,
        caller: Caller | None = None,
    ) -> None:
        self.parts = parts
        self.nbytes = sum(map(len, parts))
        self.deadline = deadline
        self.done = done
        self.prefer = prefer
        self.rows = rows
        self.caller = caller
        self.attempts = 0
        self.ended_at: Pool | None = None
        self.finished = False
        self.connection: Connection | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.pool: Pool | None = None

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.caller is not None and self.caller.disconnected

    def enter(self, pool: "Pool") -> None:
        """The call is a pod's now: its rows count there and nowhere else."""
        if self.pool is not None:
            self.pool.rows -= self.rows
        self.pool = pool
        pool.rows += self.rows

    def finish(self, outcome: Answer | PenstockError) -> None:
        """End it; later outcomes are ignored."""
        if self.finished:
            return
        self.finished = True
        self.connection = None
        if self.pool is not None:
            self.pool.rows -= self.rows
        if self.timer is not None:
            self.timer.cancel()
        # It knows this call, and by its caller a whole batch: let go of now, they need not wait for the garbage collector.
        done, self.done = self.done, _heard
        done(outcome)

    def watch_deadline(self) -> bool:
        """Begin to wait; False, with the call ended, if its time is up already."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            self.finish(DeadlineExceeded("the deadline had passed before the predictor was called"))
            return False
        self.timer = asyncio.get_running_loop().call_later(left, self._expire)
        return True

    def _expire(self) -> None:
        if self.connection is not None:
            self.connection.abort()
        self.finish(DeadlineExceeded("the predictor did not answer in time"))

    def answered(self, connection: Connection, answer: Answer) -> None:
        assert self.pool is not None
        self.pool.answered(self, connection, answer)

    def lost(self, _connection: Connection, *, begun: bool, reason: str) -> None:
        pool = self.pool
        assert pool is not None
        # A process that dies may take a connection more, and end that as well: at an address of its own it is one pod still.
        one_pod = not begun and self.ended_at in (None, pool) and pool.endpoint.lasting
        self.ended_at = pool
        error = ConnectionEnded(reason, one_pod=one_pod)
        if begun:
            self.finish(error)
        else:
            self.connection = None
            pool.failed(self, error)


def _heard(_: Answer | PenstockError) -> None:
    """Stands where `done` was, once that has heard of the end."""


class WaitingCalls:
    """Calls that wait for a connection, in order, within bounds of items and bytes."""

    __slots__ = ("_calls", "_most", "_most_bytes", "nbytes")

    def __init__(self, most: int, most_bytes: int) -> None:
        self._calls: deque[Call] = deque()
        self._most = most
        self._most_bytes = most_bytes
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def push(self, call: Call) -> bool:
        """Let a call wait; False if there is no room. One that is larger than all of the room waits alone."""
        if len(self._calls) >= self._most or (self._calls and self.nbytes + call.nbytes > self._most_bytes):
            return False
        self._calls.append(call)
        self.nbytes += call.nbytes
        return True

    def pop(self) -> Call:
        """The call that has waited longest."""
        call = self._calls.popleft()
        self.nbytes -= call.nbytes
        return call

    def clear(self) -> list[Call]:
        """Take out all of them, in order."""
        calls = list(self._calls)
        self._calls.clear()
        self.nbytes = 0
        return calls

    def take_abandoned(self) -> list[Call]:
        """Take out those that nobody waits for, or that have ended."""
        calls = self.clear()
        for call in calls:
            if not call.abandoned and not call.finished:
                self._calls.append(call)
                self.nbytes += call.nbytes
        return [call for call in calls if call.abandoned]
