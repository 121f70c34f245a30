"""How far behind a group is and how fast records come and go: offsets and times in, figures out; no I/O.

    Sample (offsets of one moment) --Window.add--> the last minute of them --figures--> PartitionFigures --total--> TopicFigures

Offsets count more than records: a transaction's end takes one too. So an offset's distance is an upper bound; where no record is
left between the group's offset and the end (`oldest_ms` None while `looked`), nothing waits whatever the offsets say.

Invariant: no figure is negative; a topic that was made anew (offsets that fall) begins a new window instead of a negative rate.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

WINDOW_S = 60.0
"""Rates are over this long, or for as long as it has been looked at."""


class Sample(NamedTuple):
    """Offsets of one partition at `at_s` (s of a clock that only goes forward). `committed`: the next record the group will read,
    None if it has none."""

    at_s: float
    first: int
    end: int
    committed: int | None


class Oldest(NamedTuple):
    """The oldest record that the group has not read, looked for from `offset` on: its time in ms of the Unix epoch, None
    if there was none up to `end`."""

    offset: int
    end: int
    timestamp_ms: int | None


class PartitionFigures(msgspec.Struct, frozen=True):
    """One partition. `lag_*` and `rate_out` are None where no group reads it. Rates are in records (offsets) per second."""

    partition: int
    first: int
    end: int
    committed: int | None
    lag_records: int | None
    lag_s: float | None
    rate_in: float
    rate_out: float | None


class TopicFigures(msgspec.Struct, frozen=True):
    """A topic: its partitions added up; the oldest of them decides on the lag in seconds."""

    topic: str
    role: str
    group: str | None
    records: int
    lag_records: int | None
    lag_s: float | None
    rate_in: float
    rate_out: float | None
    partitions: list[PartitionFigures]


def place_of(sample: Sample) -> int:
    """Where the group goes on: its offset, or the first record where it has none, or lost what it had not read."""
    return max(sample.first, sample.first if sample.committed is None else sample.committed)


def needs_look(sample: Sample, known: Oldest | None) -> bool:
    """Whether the oldest unread record is to be looked up: something waits, and what is known is of another offset, or was that
    there is none up to an end which has moved since."""
    place = place_of(sample)
    if place >= sample.end:
        return False
    if known is None or known.offset != place:
        return True
    return known.timestamp_ms is None and known.end < sample.end


class Window:
    """The samples of one partition that its figures are made from: one more than a window's, at most."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> None:
        """The newest sample."""
        kept = self._samples
        if kept and (sample.end < kept[-1].end or sample.at_s <= kept[-1].at_s):
            kept.clear()
        kept.append(sample)
        # One that is older than the window stays, so that a rate is always over the whole of it.
        while len(kept) > 2 and kept[1].at_s <= sample.at_s - self._window_s:
            kept.popleft()

    def figures(self, partition: int, oldest: Oldest | None, now_ms: float, *, grouped: bool) -> PartitionFigures:
        """The figures of now. `grouped`: a group is meant to read this. Needs a sample."""
        newest, before = self._samples[-1], self._samples[0]
        lag_records, lag_s = _lag(newest, oldest, now_ms) if grouped else (None, None)
        return PartitionFigures(
            partition=partition,
            first=newest.first,
            end=newest.end,
            committed=newest.committed,
            lag_records=lag_records,
            lag_s=lag_s,
            rate_in=_rate(newest.end - before.end, newest, before),
            # What retention takes away was not read: only where the group stands is a place that it has come to.
            rate_out=_rate(0 if newest.committed is None else newest.committed - place_of(before), newest, before)
            if grouped
            else None,
        )


def _lag(sample: Sample, oldest: Oldest | None, now_ms: float) -> tuple[int, float | None]:
    place = place_of(sample)
    if place >= sample.end:
        return 0, 0.0
    if oldest is None or oldest.offset != place:
        return sample.end - place, None
    if oldest.timestamp_ms is not None:
        return sample.end - place, max(0.0, round((now_ms - oldest.timestamp_ms) / 1e3, 3))
    return (0, 0.0) if oldest.end >= sample.end else (sample.end - oldest.end, None)


def _rate(change: int, newest: Sample, before: Sample) -> float:
    passed = newest.at_s - before.at_s
    return round(max(0, change) / passed, 3) if passed > 0 else 0.0


def total(topic: str, role: str, group: str | None, partitions: Sequence[PartitionFigures]) -> TopicFigures:
    """The figures of a whole topic."""
    lags_s = [found.lag_s for found in partitions if found.lag_s is not None]
    return TopicFigures(
        topic=topic,
        role=role,
        group=group,
        records=sum(found.end - found.first for found in partitions),
        lag_records=None if group is None else sum(found.lag_records or 0 for found in partitions),
        lag_s=None if group is None else max(lags_s, default=None if partitions else 0.0),
        rate_in=round(sum(found.rate_in for found in partitions), 3),
        rate_out=None if group is None else round(sum(found.rate_out or 0.0 for found in partitions), 3),
        partitions=list(partitions),
    )
