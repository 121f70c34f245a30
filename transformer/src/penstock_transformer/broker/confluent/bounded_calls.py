"""Calls of librdkafka whose own time limit does not hold, made on another thread that can be left behind.

`send_offsets_to_transaction` asks the group's coordinator, and while that is away it waits for news of it for ever, whatever time
it was given (librdkafka issues 5456 and 5511). Nothing ends it; only whoever waits for it can go on without it. What is left
behind holds a thread and a producer, and comes back only with the coordinator: so the process has never more than `MOST_LEFT`,
however many outlets.

Invariant: once `call` has returned, its thread holds nothing of what was called, unless it was left behind with it.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from penstock_transformer.broker.port import BrokerError

MOST_LEFT: Final = 8
"""Calls that are left behind and not back, those under way with them. A process that has so many does better to end, and to
begin anew."""

# Each call takes one until it is back.
_SLOTS: Final = threading.Semaphore(MOST_LEFT)

_Call = Callable[[], object]


class BoundedCalls:
    """One call at a time. Its thread starts with the first call, and anew after one that was left behind."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] | None = None
        self._answers: SimpleQueue[Exception | None] = SimpleQueue()

    def call(self, function: _Call, within_s: float) -> bool:
        """Whether it came back in time. Raises what it raises, and BrokerError where too many never came back."""
        if not _SLOTS.acquire(blocking=False):
            raise BrokerError(f"{MOST_LEFT} calls of the Kafka client never came back")
        try:
            calls = self._calls or self._start()
        except BaseException:
            _SLOTS.release()
            raise
        try:
            calls.put(function)
            error = self._answers.get(timeout=within_s)
        except Empty:
            self.close()
            return False
        except BaseException:
            # However late its answer comes, it is not that of the next call.
            self.close()
            raise
        if error is not None:
            raise error
        return True

    def _start(self) -> "SimpleQueue[_Call | None]":
        calls: SimpleQueue[_Call | None] = SimpleQueue()
        answers: SimpleQueue[Exception | None] = SimpleQueue()
        # One that never comes back must not hold up the end of the process.
        threading.Thread(target=_run, args=(calls, answers), name="bounded-calls", daemon=True).start()
        self._calls, self._answers = calls, answers
        return calls

    def close(self) -> None:
        """The thread ends once it is back from what it is at."""
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.put(None)


def _run(calls: "SimpleQueue[_Call | None]", answers: "SimpleQueue[Exception | None]") -> None:
    while (function := calls.get()) is not None:
        failure: Exception | None = None
        try:
            function()
        except Exception as error:
            failure = error
        finally:
            _SLOTS.release()
        del function
        answers.put(failure)
        del failure
