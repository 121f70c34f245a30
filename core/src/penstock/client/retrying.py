"""Whether, and when, a call is sent again: a state machine without I/O, one for each call, shared by both clients.

    Attempts.headers() -> send -> answered(answer) | failed(fault) -> None (done) | seconds to wait, then again | raises

Sent again: what the server refused for being busy (429), not ready or its upstream away (503, and 502 of a proxy), what was never
sent, and what was lost with its connection. A call that may not be repeated (`Repeat.IF_REFUSED`) only where it surely did
nothing. Never after a time-out: what took too long once is not made lighter by asking twice.

Invariant: no call waits beyond its deadline; where the wait that the server asks for ends behind it, the error comes at once.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from penstock.client.call import Answer, Call, Repeat
from penstock.client.refusals import error_of, retry_after_s
from penstock.errors import DeadlineExceeded, NotReady, Overloaded, PenstockError, UpstreamUnavailable

# A caller told to come back in a second comes back within 1 and 1.2, so that a thousand of them do not come at once.
_SPREAD = 0.2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` in all; between them the wait that the server asks for, else `base_s` doubling; never above `max_wait_s`."""

    attempts: int = 4
    base_s: float = 0.05
    max_wait_s: float = 10.0


class Fault(Enum):
    """What became of a request that got no answer."""

    NOT_SENT = "the server could not be reached"
    LOST = "the connection was lost before the answer"
    TIMED_OUT = "no answer came in time"


class Attempts:
    """One call's tries. `timeout_s` is for all of them together, waits included."""

    def __init__(
        self,
        call: Call[Any],
        policy: RetryPolicy,
        timeout_s: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.made = 0
        self._call = call
        self._policy = policy
        self._clock = clock
        self._spread = spread
        self._deadline = None if timeout_s is None else clock() + timeout_s

    def remaining_s(self) -> float | None:
        """What is left of the deadline; None without one. Raises DeadlineExceeded if it has passed."""
        if self._deadline is None:
            return None
        left = self._deadline - self._clock()
        if left <= 0:
            raise DeadlineExceeded("the time given for this call is over")
        return left

    def headers(self) -> dict[str, str]:
        """The headers of the next try that change from try to try. Counts the try; raises DeadlineExceeded if it is too late."""
        left = self.remaining_s()
        self.made += 1
        return {} if left is None or self._call.outlives else {"penstock-timeout-ms": str(max(1, int(left * 1e3)))}

    def answered(self, answer: Answer) -> float | None:
        """None if the answer is the result; else the seconds to wait before the next try. Raises what the answer means."""
        if self._call.is_result(answer.status):
            return None
        error = error_of(answer)
        if not self._may_repeat(error):
            raise error
        return self._wait(error, retry_after_s(answer))

    def failed(self, fault: Fault, cause: str) -> float:
        """The seconds to wait before the next try. Raises DeadlineExceeded or UpstreamUnavailable."""
        if fault is Fault.TIMED_OUT or (self._deadline is not None and self._clock() >= self._deadline):
            raise DeadlineExceeded(f"{Fault.TIMED_OUT.value}: {cause}")
        error = UpstreamUnavailable(f"{fault.value}: {cause}")
        if fault is Fault.LOST and self._call.repeat is not Repeat.ALWAYS:
            raise error
        return self._wait(error, None)

    def _may_repeat(self, error: PenstockError) -> bool:
        """A refusal that may pass by itself. Another bundle than expected does not, as far as this caller can wait."""
        if isinstance(error, Overloaded | NotReady):
            return True
        return isinstance(error, UpstreamUnavailable) and self._call.repeat is Repeat.ALWAYS

    def _wait(self, error: PenstockError, asked_s: float | None) -> float:
        if self.made >= self._policy.attempts:
            raise error
        if asked_s is None:
            doubled_s = self._policy.base_s * 2.0 ** (self.made - 1)
            wait_s = min(self._policy.max_wait_s, doubled_s) * (0.5 + 0.5 * self._spread())
        else:
            wait_s = asked_s * (1 + _SPREAD * self._spread())
            if asked_s > self._policy.max_wait_s:
                raise error
        if self._deadline is not None and self._clock() + wait_s >= self._deadline:
            raise error
        return wait_s
