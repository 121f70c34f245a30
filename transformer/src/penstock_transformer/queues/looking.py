"""One look at a model's queues on the broker: what the port says, turned into figures. Blocking, on one thread of its own.

    Admin: ends, committed offsets --> windows --> figures      glance: the oldest unread record, where its offset has changed
    Reader: dead letters and marks, from where the last look ended --> counts

Invariant: a look asks for a bounded amount, whatever has come since the last: what is left is for the next one.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from penstock_transformer.broker.port import Admin, BrokerError, Reader
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.queues.counts import Entry, LetterCounts, Marks, place_text
from penstock_transformer.queues.lag import Oldest, PartitionFigures, Sample, TopicFigures, Window, needs_look, place_of, total
from penstock_transformer.queues.opening import Parts
from penstock_transformer.worker.dead_letter_box import Mark
from penstock_transformer.worker.dead_letters import read_letter

REQUESTS, PREDICTIONS, LETTERS = "requests", "predictions", "dead-letters"
_BEYOND = 2**62
_GLANCES = 16
_LETTERS_A_LOOK = 5000
_LETTERS_S = 2.0


class LetterFigures(msgspec.Struct, frozen=True):
    """A model's dead letters. `reasons` counts all that the topic keeps; `waiting` those that nobody has seen to. `counted`: the
    whole topic has been read, so that these are all of them."""

    topic: str
    reasons: dict[str, int]
    waiting: int
    replayed: int
    dropped: int
    counted: bool


class ModelFigures(msgspec.Struct, frozen=True):
    """A model's topics and dead letters; `missing` names the topics that do not exist."""

    model: str
    topics: list[TopicFigures]
    missing: list[str]
    dead_letters: LetterFigures | None


class Listed(NamedTuple):
    """A dead letter, and what was done with it (None: nothing)."""

    entry: Entry
    done: str | None


class Looker:
    """Looks at one model's queues. `group` reads the requests. `groups` may read others, by the role of their topic: each counts
    once it has committed anything there, as not everybody has such a group.

    `newest` are the newest dead letters as the last look found them, the newest first; any thread may read it."""

    def __init__(
        self,
        model: str,
        group: str,
        parts: Parts,
        *,
        groups: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.model = model
        self._topics = {role: f"{model}.{role}" for role in (REQUESTS, PREDICTIONS, LETTERS)}
        self._marks_topic = f"{model}.replays"
        self._groups = {REQUESTS: group, **(groups or {})}
        self._parts = parts
        self._clock = clock
        self._now = now
        self._windows: dict[Partition, Window] = {}
        self._oldest: dict[Partition, Oldest] = {}
        self._letters = LetterCounts()
        self._marks = Marks()
        self.newest: tuple[Listed, ...] = ()
        self._admin: Admin | None = None
        self._reader: Reader | None = None
        self._glance: Reader | None = None

    def look(self) -> ModelFigures:
        """The figures of now. Raises BrokerError, Retriable; the next look opens everything anew then."""
        try:
            return self._look()
        except BrokerError:
            self.close()
            raise

    def close(self) -> None:
        """Let the clients go."""
        opened = (self._admin, self._reader, self._glance)
        self._admin = self._reader = self._glance = None
        for one in opened:
            if one is not None:
                try:
                    one.close()
                except BrokerError:
                    continue

    def _look(self) -> ModelFigures:
        if self._admin is None:
            self._admin = self._parts.admin()
        bounds = self._admin.ends([*self._topics.values(), self._marks_topic])
        committed = {group: self._admin.committed(group, list(bounds)) for group in set(self._groups.values())}
        at_s = self._clock()
        reading = {
            role: group
            for role, group in self._groups.items()
            if role == REQUESTS or any(partition.topic == self._topics[role] for partition in committed[group])
        }
        samples: dict[str, dict[Partition, Sample]] = {}
        for partition, (first, end) in bounds.items():
            role = next((role for role, topic in self._topics.items() if topic == partition.topic), None)
            if role is not None:
                offsets = committed.get(reading.get(role, ""), {})
                samples.setdefault(role, {})[partition] = Sample(at_s, first, end, offsets.get(partition))
        self._forget(bounds)
        for role, found in samples.items():
            if role in reading:
                self._find_oldest(found)
        topics = [self._figures(role, samples[role], reading.get(role)) for role in self._topics if role in samples]
        letters = self._count_letters(bounds) if LETTERS in samples else None
        missing = [topic for role, topic in self._topics.items() if role not in samples]
        return ModelFigures(self.model, topics, missing, letters)

    def _forget(self, bounds: Mapping[Partition, object]) -> None:
        for known in (self._windows, self._oldest):
            for partition in [partition for partition in known if partition not in bounds]:
                del known[partition]

    def _figures(self, role: str, samples: Mapping[Partition, Sample], group: str | None) -> TopicFigures:
        now_ms = self._now() * 1e3
        found: list[PartitionFigures] = []
        for partition, sample in sorted(samples.items()):
            window = self._windows.setdefault(partition, Window())
            window.add(sample)
            found.append(window.figures(partition.number, self._oldest.get(partition), now_ms, grouped=group is not None))
        return total(self._topics[role], role, group, found)

    def _find_oldest(self, samples: Mapping[Partition, Sample]) -> None:
        """Look the oldest unread records up, the longest unknown first."""
        wanted = [partition for partition, sample in samples.items() if needs_look(sample, self._oldest.get(partition))]
        for partition in sorted(wanted, key=lambda partition: partition in self._oldest)[:_GLANCES]:
            sample = samples[partition]
            record = self._first_from(partition, place_of(sample), len(samples))
            # What came while it was looked up is not what was looked for.
            known = None if record is None or record.offset >= sample.end else record.timestamp_ms
            self._oldest.pop(partition, None)
            self._oldest[partition] = Oldest(place_of(sample), sample.end, known)

    def _first_from(self, partition: Partition, offset: int, partitions: int) -> Record | None:
        if self._glance is None:
            self._glance = self._parts.glance()
        start = {Partition(partition.topic, number): _BEYOND for number in range(partitions)} | {partition: offset}
        return next((record for record in self._glance.read(partition.topic, start) if record.partition == partition), None)

    # --- dead letters

    def _count_letters(self, bounds: Mapping[Partition, tuple[int, int]]) -> LetterFigures:
        letters = self._topics[LETTERS]
        ours = {partition: bound for partition, bound in bounds.items() if partition.topic == letters}
        for partition, (first, end) in ours.items():
            self._letters.begins(partition.number, first, end)
        counted = self._read_letters(letters, ours)
        self._read_marks(bounds.get(Partition(self._marks_topic, 0)))
        self.newest = tuple(
            Listed(entry, self._marks.of(place_text(letters, *entry.place), entry.written_ms)) for entry in self._letters.newest()
        )
        reasons, done = self._letters.by_reason(), self._marks.totals()
        replayed, dropped = done.get("replayed", 0), done.get("dropped", 0)
        waiting = max(0, sum(reasons.values()) - replayed - dropped)
        return LetterFigures(letters, reasons, waiting, replayed, dropped, counted)

    def _read_letters(self, topic: str, bounds: Mapping[Partition, tuple[int, int]]) -> bool:
        """Count what has come; whether that was all."""
        start = {partition: self._letters.next_of(partition.number) for partition in bounds}
        if all(start[partition] >= end for partition, (_, end) in bounds.items()):
            return True
        until = self._clock() + _LETTERS_S
        for count, record in enumerate(self._opened_reader().read(topic, start), 1):
            self._letters.add(read_letter(record))
            if count >= _LETTERS_A_LOOK or self._clock() > until:
                return False
        for partition, (_, end) in bounds.items():
            self._letters.read_to(partition.number, end)
        return True

    def _read_marks(self, bound: tuple[int, int] | None) -> None:
        if bound is None:
            return
        self._marks.begins(bound[1])
        if self._marks.next >= bound[1]:
            return
        start = {Partition(self._marks_topic, 0): self._marks.next}
        for offset, place, mark in marks_in(self._opened_reader().read(self._marks_topic, start)):
            self._marks.add(offset, place, None if mark is None else mark.what, 0 if mark is None else mark.written_ms)
        self._marks.read_to(bound[1])

    def _opened_reader(self) -> Reader:
        if self._reader is None:
            self._reader = self._parts.reader()
        return self._reader


def marks_in(records: Iterable[Record]) -> Iterable[tuple[int, str, Mark | None]]:
    """The marks among their topic's records: offset, place, mark (None: taken away). What is none is passed over."""
    for record in records:
        place = (record.key or b"").decode("utf-8", "replace")
        try:
            yield record.offset, place, msgspec.json.decode(record.value, type=Mark) if record.value else None
        except msgspec.MsgspecError:
            continue
