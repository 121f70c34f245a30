"""Waiting for what becomes true by itself, with an end: `until(lambda: …, 30, "what was waited for")`."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], within_s: float, what: str) -> T:
    """What `condition` gives once it is true. Raises AssertionError when it does not become so."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)
