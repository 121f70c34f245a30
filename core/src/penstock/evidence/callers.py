"""How many callers are behind the keys that were counted, and how alike each one's requests are: told beside the counts.

    first request of a key in a window --CallerSums (a process)--> Callers --added, subtracted, as all counts--> who decides

A key counts anew in every window (`document`), though chance gave it to a bundle once. Five callers are a hundred observations
after twenty minutes, and if each has answers of its own they are no more than five. So some keys are watched: which ones is
chosen by a hash that is the same everywhere, so that all processes watch the same ones and their counts add up. Of each is told
how often it counted, and of all together how often two observations of one, one after the other, were alike.

The sample is an adaptive one (Wegman; Flajolet, "On adaptive sampling", 1990; of the union of streams: Gibbons & Tirthapura,
SPAA 2001): a key of level l has a hash that ends with l zeros, which one in 2 ** l has; kept are all keys of the least level at
which at most `MOST` are left. Of so few keys it knows all, and counts exactly; of a key for each request it knows that each came
once, exactly, too, which no sketch that rounds (HyperLogLog, the second moment's) would.

Invariant: a key that is in a sample is in it with all its counts. A sum of samples knows no order, and does not depend on which
of them were added first. A mark has 16 bits of a hash, and its level: so many keys have the same that none can be read off it;
whoever knows all keys can tell which may be meant.
"""

from collections.abc import Collection, Iterable
from hashlib import blake2b
from typing import Annotated, Final

import msgspec

MOST: Final = 32
"""Keys that a sample holds. They are told by every process for every bundle, and kept in a status."""
_LEVELS: Final = 16
_SHIFT: Final = 16
"""A mark is a level, above so many bits of a hash."""

Count = Annotated[int, msgspec.Meta(ge=0)]
Level = Annotated[int, msgspec.Meta(ge=0, le=_LEVELS + 1)]
"""The last is of no key: more came than can be told apart."""
Mark = Annotated[int, msgspec.Meta(ge=0, lt=_LEVELS + 1 << _SHIFT)]


class Sample(msgspec.Struct, omit_defaults=True):
    """How often each of some keys counted: by its mark, ascending; all keys that came of this `level` or a higher one."""

    level: Level = 0
    counts: list[tuple[Mark, Count]] = []

    @property
    def total(self) -> int:
        """How often all of them counted."""
        return sum([count for _, count in self.counts])

    @property
    def distinct(self) -> float:
        """About how many keys came in all: right to 20 %, exactly where all are known (level 0)."""
        return float(len(self.counts) << self.level)

    @property
    def others(self) -> float:
        """How many more an observation has of its own key, on average over all observations: 0 where each key came once."""
        total = self.total
        return sum([count * count for _, count in self.counts]) / total - 1.0 if total else 0.0


class Callers(msgspec.Struct, omit_defaults=True):
    """Of one bundle's requests by callers who stick to it. `keyed`: how many of `Entry.keys` have a key; `came`: how often keys
    counted; `failed`: in how many processes and revisions they failed.

    Of two observations of one of the sampled keys, one after the other: `alike`, by the name of an output, how many there were
    and of how many both fell in the same bin; `quicker` and `slower`: the shorter and the longer of the two latencies, by bin."""

    keyed: Count = 0
    came: Sample = msgspec.field(default_factory=Sample)
    failed: Sample = msgspec.field(default_factory=Sample)
    alike: dict[str, tuple[Count, Count]] = {}
    quicker: list[tuple[Count, Count]] = []
    slower: list[tuple[Count, Count]] = []


class Watched:
    """The sample of one process, as it grows."""

    __slots__ = ("counts", "level", "mask")

    def __init__(self) -> None:
        self.level = self.mask = 0
        self.counts: dict[int, int] = {}

    def count(self, key: bytes) -> int | None:
        """Count a key; its mark, None if it is none of the sample."""
        # Not a CRC: of keys that are numbers, one after the other, its bits are anything but drawn.
        hashed = int.from_bytes(blake2b(key, digest_size=4).digest(), "little")
        if hashed & self.mask:
            return None
        mark = _mark(hashed)
        known = self.counts.get(mark)
        if known is not None:
            self.counts[mark] = known + 1
            return mark
        if self.level > _LEVELS:
            return None
        self.counts[mark] = 1
        while len(self.counts) > MOST:
            self.level += 1
            self.mask = (1 << min(self.level, _LEVELS)) - 1
            self.counts = {one: count for one, count in self.counts.items() if one >> _SHIFT >= self.level}
        return mark if mark in self.counts else None

    def told(self) -> Sample:
        """As the document has it."""
        return Sample(self.level, sorted(self.counts.items()))


class CallerSums:
    """Of one bundle's requests in one process: how often keys counted, and how alike what came of each was. `mark`: of the key
    that came last, None if it is not watched."""

    __slots__ = ("_bins", "_codes", "_quicker", "_slower", "alike", "came", "failed", "keyed", "mark")

    def __init__(self) -> None:
        self.keyed = 0
        self.mark: int | None = None
        self.came, self.failed = Watched(), Watched()
        self.alike: dict[str, list[int]] = {}
        self._codes: dict[str, dict[int, int]] = {}
        self._bins: dict[int, int] = {}
        self._quicker: dict[int, int] = {}
        self._slower: dict[int, int] = {}

    def count(self, key: bytes) -> None:
        """A key is the first time in its window."""
        self.keyed += 1
        self.mark = self.came.count(key)

    def fail(self, key: bytes) -> None:
        """A key has failed, and counts no more."""
        self.failed.count(key)

    def take(self, mark: int, number: int) -> None:
        """So long, by bin, took the request for which a watched key was counted."""
        before = self._bins.get(mark)
        if before is None and len(self._bins) >= 2 * MOST:
            self._bins = _kept(self._bins, self.came.counts)
        self._bins[mark] = number
        if before is not None:
            low, high = (before, number) if before < number else (number, before)
            self._quicker[low] = self._quicker.get(low, 0) + 1
            self._slower[high] = self._slower.get(high, 0) + 1

    def answer(self, name: str, marks: Iterable[int], bins: Iterable[int]) -> None:
        """In these bins of an output fell what was answered to the requests for which watched keys were counted."""
        last = self._codes.setdefault(name, {})
        sums = self.alike.setdefault(name, [0, 0])
        for mark, number in zip(marks, bins, strict=True):
            before = last.get(mark)
            if before is not None:
                sums[0] += 1
                sums[1] += before == number
            last[mark] = number
        if len(last) > 2 * MOST:
            self._codes[name] = _kept(last, self.came.counts)

    def told(self) -> Callers | None:
        """As the document has it; None where nobody came."""
        if not self.keyed:
            return None
        alike = {name: (pairs, same) for name, (pairs, same) in sorted(self.alike.items()) if pairs}
        quicker, slower = sorted(self._quicker.items()), sorted(self._slower.items())
        return Callers(self.keyed, self.came.told(), self.failed.told(), alike, quicker, slower)


def added(samples: Iterable[Sample]) -> Sample:
    """The sum of at least one: of the least level at which all are known and at most `MOST` keys are left."""
    several = list(samples)
    level = max([one.level for one in several])
    counts: dict[int, int] = {}
    for one in several:
        for mark, count in one.counts:
            if mark >> _SHIFT >= level:
                counts[mark] = counts.get(mark, 0) + count
    while len(counts) > MOST:
        level += 1
        counts = {mark: count for mark, count in counts.items() if mark >> _SHIFT >= level}
    return Sample(level, sorted(counts.items()))


def of_level(sample: Sample, level: int) -> list[tuple[int, int]]:
    """What a sample would have of keys of this level, its own or a higher one."""
    return [(mark, count) for mark, count in sample.counts if mark >> _SHIFT >= level]


def _mark(hashed: int) -> int:
    low = hashed & 0xFFFF
    return (((low & -low).bit_length() - 1 if low else _LEVELS) << _SHIFT) | hashed >> _SHIFT


def _kept(last: dict[int, int], watched: Collection[int]) -> dict[int, int]:
    return {mark: number for mark, number in last.items() if mark in watched}
