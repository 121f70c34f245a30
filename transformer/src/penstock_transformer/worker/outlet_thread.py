"""The thread that commits: one blocking call of the outlet at a time, its end told as an event.

    Commit --begin, produce, offsets, commit--> CommitDone | CommitFailed        Restore --> Restored | RestoreFailed

Invariant: every call is answered by exactly one event, whatever the client raises.
"""

import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from penstock.failpoints import failpoint
from penstock_transformer.broker.port import Outlet
from penstock_transformer.worker.effects import Commit
from penstock_transformer.worker.events import CommitDone, CommitFailed, Event, Restored, RestoreFailed
from penstock_transformer.worker.failures import failure_of


class OutletThread:
    """`tell` takes each event; it is called on this thread."""

    def __init__(self, outlet: Outlet, tell: Callable[[Event], None]) -> None:
        self._outlet = outlet
        self._tell = tell
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A client that never comes back must not hold up the end of the process.
        self._thread = threading.Thread(target=self._run, name="worker-outlet", daemon=True)
        self._thread.start()

    def open(self) -> "Future[None]":
        """Take the transactional id over. The future raises as `Outlet.open` does."""
        return self._asked(self._outlet.open)

    def commit(self, commit: Commit, group: Any) -> None:
        """Write these records and offsets as a member of `group`."""
        self._calls.put(lambda: self._commit(commit, group))

    def restore(self) -> None:
        """Make the outlet work again."""
        self._calls.put(self._restore)

    def close(self) -> "Future[None]":
        """Close the outlet when the call under way has ended; nothing may be asked after that."""
        closing = self._asked(self._outlet.close)
        self._calls.put(None)
        return closing

    def where(self) -> str:
        """What the thread is at: its stack, the last call at the end."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame is not None else "nowhere"

    def _asked(self, call: Callable[[], None]) -> "Future[None]":
        found: Future[None] = Future()

        def answer() -> None:
            if found.set_running_or_notify_cancel():
                try:
                    call()
                except Exception as error:
                    found.set_exception(error)
                else:
                    found.set_result(None)

        self._calls.put(answer)
        return found

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _commit(self, commit: Commit, group: Any) -> None:
        try:
            failpoint("worker.predicted")
            self._outlet.commit(commit.records, commit.offsets, group)
            failpoint("worker.committed")
        except Exception as error:
            self._tell(CommitFailed(failure_of(error), str(error), getattr(error, "at", None)))
        else:
            self._tell(CommitDone())

    def _restore(self) -> None:
        try:
            self._outlet.restore()
        except Exception as error:
            self._tell(RestoreFailed(failure_of(error), str(error)))
        else:
            self._tell(Restored())
