"""Callers that stick to a bundle, counted once a window: requests of one route key fail together, and are no independent trials.

    key of a request, error or None --> KeySums of a bundle --> how many keys, and how many of them failed: sums that only grow
                                              \\--> whether it is the key's first in the window, and tells latency and outputs
    KeyWindow, one a process: when a window begins, which keys it looks at, how many more have room

A key that has failed is out of the count under this revision of the route: a caller whose requests always fail stays with its
bundle, and would be new evidence against it with every window, although chance chose for it only once. Not so where one bundle
answers everything and copies are drawn `anew` in each window: a key that was out would be so at once among requests, and among
copies only once it was drawn, so that the shadow would look worse by all who always fail.

Invariant: which keys are looked at is the same for all bundles at any moment, and has nothing to do with how their requests fare
or when in the window they come. Else an outage of all bundles would be counted of those alone that still look. So keys are
chosen by their hash, one in a power of two, for a whole window, by how many came in the one before; where that was too few all
the same, the window is full for all bundles at once. All that is kept are the keys of two windows, `MAX_KEYS` each, and twice as
many that have failed, about 12 MB; `unkeyed` says how many requests had a key that was not looked at.
"""

from collections.abc import Collection
from typing import Final

from penstock.evidence.callers import CallerSums

WINDOW_S: Final = 60.0
NO_WINDOW: Final = -1
"""Of requests whose key is not to be looked at."""
MAX_KEYS: Final = 32_768
"""Keys that a window has room for, those of all bundles together: 400 new ones a second before some are left out."""
_FILLED: Final = 0.75
"""Of the room, what a window like the one before would take."""
_BITS_FROM: Final = 32
"""Which bits of the hash choose: sets put what they hold in order by the lowest."""


class KeyWindow:
    """The windows of a process, which begin at whole minutes of the clock of who counts. `number`: which one it is, `end_s`: when
    it is over; `now_s`: the clock's last time. `mask`: the bits of its hash that a key must not have to be looked at; `room`: for
    so many more keys. `last_mask`: that of the window before, in which what began then still counts."""

    __slots__ = (
        "_began_s",
        "_drawn",
        "_full_s",
        "_given_back",
        "_members",
        "_one_in",
        "end_s",
        "last_mask",
        "mask",
        "now_s",
        "number",
        "room",
    )

    def __init__(self) -> None:
        self.end_s = self.now_s = self._began_s = 0.0
        self.number = 0
        self.room = MAX_KEYS
        self.mask = self.last_mask = 0
        self._one_in = 1
        self._given_back = 0
        self._full_s: float | None = None
        self._drawn = False
        self._members: list[KeySums] = []

    def begin(self, now_s: float) -> None:
        """A new window, in which every key counts anew that has not failed."""
        self.last_mask = self.mask
        self._choose()
        last, self.number = self.number, int(now_s // WINDOW_S)
        self._began_s = self.now_s = now_s
        self.end_s, self._full_s = (self.number + 1) * WINDOW_S, None
        self.room, self._given_back = MAX_KEYS, 0
        lasts = self._drawn and self.number == last + 1
        self._drawn = False
        for sums in self._members:
            sums.turn(keep=lasts)
        # All or none: keys that fail for ever count anew by this, and must not in one bundle alone.
        if sum(len(sums.failed) for sums in self._members) >= MAX_KEYS:
            for sums in self._members:
                sums.failed.clear()

    def at(self, now_s: float) -> int:
        """The number of the window, for requests that are to be counted in it though their answers come when it is over."""
        if now_s >= self.end_s:
            self.begin(now_s)
        self.now_s, self._drawn = now_s, True
        return self.number

    def full(self) -> None:
        """A key came that has no room."""
        if self._full_s is None:
            self._full_s = self.now_s

    def join(self, sums: "KeySums") -> None:
        """Count in these windows from now on."""
        self._members.append(sums)

    def keep(self, used: Collection["KeySums"]) -> None:
        """Let go of all sums but these: they are of routes that are over, and give back their room."""
        for sums in self._members:
            if sums not in used:
                self.room += len(sums.seen)
                self._given_back += len(sums.seen)
                self._full_s = None
                sums.turn(keep=False)
                sums.failed.clear()
        self._members = list(used)

    def _choose(self) -> None:
        """Look at one key in so many of the next window that it will not be full, going by this one, or what there was of it."""
        until_s = self.end_s if self._full_s is None else self._full_s
        taken = MAX_KEYS - self.room + self._given_back
        came = self._one_in * taken * WINDOW_S / min(max(until_s - self._began_s, 1.0), WINDOW_S)
        self._one_in = 1
        while came > _FILLED * MAX_KEYS * self._one_in:
            self._one_in *= 2
        self.mask = (self._one_in - 1) << _BITS_FROM


class KeySums:
    """Of one bundle's requests, in the windows of its process. `seen`: hashes of the keys that have counted in this window,
    `last`: in the one before; `failed`: of those that have failed. `anew`: only of those that have in this window, and
    `last_failed` in the one before. `callers`: who is behind the keys, where they stick to one of several bundles."""

    __slots__ = ("_window", "anew", "callers", "failed", "failed_keys", "keys", "last", "last_failed", "seen", "unkeyed")

    def __init__(self, window: KeyWindow, *, anew: bool = False, callers: CallerSums | None = None) -> None:
        self.anew = anew
        self.callers = callers
        self.keys = 0
        self.unkeyed = 0
        self.failed_keys: dict[str, int] = {}
        self.seen: set[int] = set()
        self.last: set[int] = set()
        self.failed: set[int] = set()
        self.last_failed: set[int] = set()
        self._window = window
        window.join(self)

    def count(self, key: "str | bytes", kind: str | None, number: int | None = None) -> bool:
        """A request of this key was answered, with an error of this kind or without; whether it is the key's first. `number`: of
        the window in which it counts, this one or the one before; None: this one."""
        # Python's own hash: salted by process, so that nobody can choose keys that fall together, or are looked at.
        hashed = hash(key)
        window, seen, failed = self._window, self.seen, self.failed
        mask = window.mask
        if number is not None and number != window.number:
            if number == NO_WINDOW or number != window.number - 1:
                self.unkeyed += 1
                return False
            mask, seen = window.last_mask, self.last
            if self.anew:
                failed = self.last_failed
        if hashed & mask:
            self.unkeyed += 1
            return False
        if hashed in failed:
            return False
        first = hashed not in seen
        if first:
            if window.room <= 0:
                window.full()
                self.unkeyed += 1
                return False
            window.room -= 1
            seen.add(hashed)
            self.keys += 1
            if self.callers is not None:
                self.callers.count(key if isinstance(key, bytes) else key.encode())
        if kind is not None:
            failed.add(hashed)
            self.failed_keys[kind] = self.failed_keys.get(kind, 0) + 1
            if self.callers is not None:
                self.callers.fail(key if isinstance(key, bytes) else key.encode())
        return first

    def turn(self, *, keep: bool) -> None:
        """A new window begins; keep what was seen in this one for requests that began in it, or nothing."""
        self.last = self.seen if keep else set()
        self.seen = set()
        if self.anew:
            self.last_failed = self.failed if keep else set()
            self.failed = set()

    def count_lone(self, kind: str | None) -> None:
        """A request without a key: a key of its own."""
        self.keys += 1
        if kind is not None:
            self.failed_keys[kind] = self.failed_keys.get(kind, 0) + 1
