"""Waiting for what becomes true by itself, with an end: `until(lambda: …, 30, "what was waited for")`.

It rests between two looks: on a busy machine, who asks without a pause holds up what is waited for.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WITHIN_S = 30.0


def until(condition: Callable[[], T], within_s: float = WITHIN_S, what: str | Callable[[], str] = "what was waited for") -> T:
    """What `condition` gives once it is true. Raises AssertionError, with `what` as it is then, when it does not become so."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.05)
