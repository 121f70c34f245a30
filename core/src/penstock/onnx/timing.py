"""What a call costs, for choices between two ways of doing the same: bound or plain runs, pinned buffers or none."""

import time
from collections.abc import Callable
from typing import Any


def least_s(call: Callable[[], Any], repeats: int) -> float:
    """The least time of so many calls, in seconds. Not the median: whatever else the machine does only ever adds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
