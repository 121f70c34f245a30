"""Threads that decode pictures and take long texts apart for one bundle: few, with a bounded queue, and nobody else's.

Pipeline --(encode)--> EncodingThreads.run --> Encoder.encode in a thread

Pictures, then long texts, are the dearest things that a caller can ask for. They never hold up what waits for the event loop's
shared threads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from penstock.errors import Overloaded, UpstreamUnavailable

T = TypeVar("T")


class EncodingThreads:
    """`threads` at work at once, `waiting` more in line. All methods on the event loop's thread."""

    def __init__(self, threads: int = 2, waiting: int = 256) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encoding")
        self._most = threads + waiting
        self._held = 0
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises; work that is cancelled before its turn is not begun. Raises Overloaded if the line is
        full, UpstreamUnavailable after `close`.
        """
        if self._closed:
            raise UpstreamUnavailable("the bundle that this request was for is no longer served")
        if self._held >= self._most:
            raise Overloaded("too many requests with images or long texts wait to be encoded", retry_after_s=1.0)
        self._held += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._held -= 1

    def close(self) -> None:
        """No more work; call it once no batch uses the bundle."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
