"""Callers that stick to a bundle, counted once a window: requests of one route key fail together, and are no independent trials.

    key of a request, error or None --> KeyWindow --> how many keys, and how many of them failed, as sums that only grow

A key that has failed is out of the count under this revision of the route: a caller whose requests always fail stays with its
bundle, and would be new evidence against it with every window, although chance chose for it only once.

Invariant: a window holds at most `MAX_KEYS` keys of 8 bytes and change, and as many that have failed. When it is full, a key
that is not in it is counted neither as seen nor as failed until the next window (`unkeyed` says how many such requests came):
which keys those are depends on when they came, not on how they fared.
"""

from typing import Final

WINDOW_S: Final = 60.0
MAX_KEYS: Final = 8192


class KeyWindow:
    """Of one bundle's requests. `end_s`: when the window is over, on the clock of who counts."""

    __slots__ = ("end_s", "failed", "failed_keys", "keys", "seen", "unkeyed")

    def __init__(self) -> None:
        self.end_s = 0.0
        self.keys = 0
        self.unkeyed = 0
        self.failed_keys: dict[str, int] = {}
        self.seen: set[int] = set()
        self.failed: set[int] = set()

    def begin(self, now_s: float) -> None:
        """A new window, in which every key counts anew that has not failed."""
        self.end_s = now_s + WINDOW_S
        self.seen.clear()
        if len(self.failed) >= MAX_KEYS:
            self.failed.clear()

    def count(self, key: "str | bytes", kind: str | None) -> None:
        """A request of this key was answered, with an error of this kind or without."""
        # Python's own hash: salted by process, so that nobody can choose keys that fall together.
        number = hash(key)
        if number in self.failed:
            return
        if number not in self.seen:
            if len(self.seen) >= MAX_KEYS:
                self.unkeyed += 1
                return
            self.seen.add(number)
            self.keys += 1
        if kind is not None:
            self.failed.add(number)
            self.failed_keys[kind] = self.failed_keys.get(kind, 0) + 1

    def count_lone(self, kind: str) -> None:
        """A request that failed and has no key: a key of its own."""
        self.keys += 1
        self.failed_keys[kind] = self.failed_keys.get(kind, 0) + 1
