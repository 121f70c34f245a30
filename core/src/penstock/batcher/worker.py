"""The batcher's one worker thread: runs go in, in order; results go back to the event loop.

A plain thread on a SimpleQueue hands a run over for a few microseconds, a tenth of an executor's future.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


class Worker:
    """Runs jobs one after the other in a daemon thread of its own. A job must not raise."""

    __slots__ = ("_jobs", "_thread")

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Job) -> None:
        """Run `job` after those handed in before."""
        self._jobs.put(job)

    def close(self) -> None:
        """End the thread after the jobs that it has; does not wait for it."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job
