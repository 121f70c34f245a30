"""Python imports this at its start where this folder is on its path: the wall clock then is the right one and the offset that a
file holds, read twenty times a second. What only measures (`time.monotonic`) goes on as it is."""

import os
import time

_FILE = os.environ.get("PENSTOCK_CHAOS_CLOCK")
_LOOK_S = 0.05


def _step(file: str) -> None:
    right, right_ns, monotonic = time.time, time.time_ns, time.monotonic
    looked_at, offset_s = monotonic() - 2 * _LOOK_S, 0

    def offset() -> int:
        nonlocal looked_at, offset_s
        if monotonic() - looked_at >= _LOOK_S:
            looked_at = monotonic()
            with open(file) as content:
                offset_s = int(content.read())
        return offset_s

    time.time = lambda: right() + offset()
    time.time_ns = lambda: right_ns() + offset() * 10**9


if _FILE:
    _step(_FILE)
