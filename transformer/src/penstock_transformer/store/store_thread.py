"""One thread for a store's blocking calls, waited for up to the store's timeout.

    coroutine --run--> line (bounded) --> thread --result, or TimeoutError--> coroutine

Work that nobody waits for any more is not begun: a store that hung for a minute is not asked, once it is back, for all that a
minute's callers wanted. So what waits and what runs is bounded by `max_in_flight` and one.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from penstock.errors import Overloaded, UpstreamUnavailable
from penstock_transformer.store.settings import StoreSettings

T = TypeVar("T")


class StoreThread:
    """All methods on the event loop's thread."""

    def __init__(self, name: str, settings: StoreSettings) -> None:
        self._pool = ThreadPoolExecutor(1, name)
        self._settings = settings
        self._waiting = 0
        self._closed = False

    async def run(self, work: Callable[[], T], *, late: Callable[[], None] | None = None, patient: bool = False) -> T:
        """What `work` returns or raises. After the timeout TimeoutError, and `late` is called if the work is under way; `patient`
        waits as long as it takes.

        Raises Overloaded when too much waits, UpstreamUnavailable after `close`.
        """
        if self._closed:
            raise UpstreamUnavailable("the feature store is closed")
        if self._waiting >= self._settings.max_in_flight:
            raise Overloaded("the feature store has too many reads and writes under way", retry_after_s=self._settings.timeout_s)
        self._waiting += 1
        begun = self._pool.submit(work)
        try:
            async with asyncio.timeout(None if patient else self._settings.timeout_s):
                return await asyncio.wrap_future(begun)
        except TimeoutError:
            if not begun.cancel() and late is not None:
                late()
            raise
        finally:
            self._waiting -= 1

    def soon(self, work: Callable[[], Any]) -> None:
        """Do this behind whatever the thread still does."""
        self._pool.submit(work)

    async def close(self) -> None:
        """Take no more work, and return when the thread has ended."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
