"""Calls of librdkafka whose own time limit does not hold, made on another thread that can be left behind.

`send_offsets_to_transaction` asks the group's coordinator, and while that is away it waits for news of it for ever, whatever time
it was given (librdkafka issues 5456 and 5511). Nothing ends it; only whoever waits for it can go on without it.

Invariant: once `call` has returned, its thread holds nothing of what was called, unless it was left behind with it.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

_Call = Callable[[], object]


class BoundedCalls:
    """One call at a time. Its thread starts with the first call, and anew after one that was left behind."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] | None = None
        self._answers: SimpleQueue[Exception | None] = SimpleQueue()

    def call(self, function: _Call, within_s: float) -> bool:
        """Whether it came back in time. Raises what it raises."""
        if self._calls is None:
            self._calls, self._answers = SimpleQueue(), SimpleQueue()
            # One that never comes back must not hold up the end of the process.
            threading.Thread(target=_run, args=(self._calls, self._answers), name="bounded-calls", daemon=True).start()
        self._calls.put(function)
        try:
            error = self._answers.get(timeout=within_s)
        except Empty:
            self.close()
            return False
        if error is not None:
            raise error
        return True

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
        del function
        answers.put(failure)
        del failure
