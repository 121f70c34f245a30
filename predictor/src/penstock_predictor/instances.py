"""Several instances of one model behind one queue: as many runs at once, each by a runner and in a thread of its own.

    batcher --up to N batches--> Instances --a free runner, its thread--> session

On the CPU the instances share one session, and so its weights; on an accelerator each has its own, and so streams of its own:
while one computes the other copies. A single instance needs none of this and pays for none of it.

Invariant: a runner is used by one thread at a time.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from penstock_predictor.runner import Outcome, Runner
from penstock_predictor.work import Work


class Instances:
    """Runs batches on whichever runner is free; the batcher's `max_in_flight` sees to it that one is."""

    def __init__(self, runners: Sequence[Runner]) -> None:
        self._free = deque(runners)
        self._threads = ThreadPoolExecutor(len(runners), thread_name_prefix="penstock-instance")

    async def run(self, works: list[Work]) -> Outcome:
        """One batch, on one instance."""
        runner = self._free.popleft()
        running = self._threads.submit(runner.run, works)
        # Free when its thread is done with it, which may be later than the end of whoever waits here.
        loop = asyncio.get_running_loop()
        running.add_done_callback(lambda _: _call(loop, self._give_back, runner))
        return await asyncio.wrap_future(running)

    def close(self) -> None:
        """End the threads once their runs are over; does not wait for them."""
        self._threads.shutdown(wait=False)

    def _give_back(self, runner: Runner) -> None:
        runner.running = ()
        self._free.append(runner)


def _call(loop: asyncio.AbstractEventLoop, function: object, runner: Runner) -> None:
    """On the loop's thread, if there still is one."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, runner)  # type: ignore[arg-type]
