"""Dead letters counted by reason, in memory that does not grow with their number; no I/O.

    Letter (without its bytes) --add--> counts by chunk of offsets (those that the topic no longer keeps are taken off)
                                   \\--> the newest few hundred, for the list

Reasons come from records, which anybody may have written: a bounded number of them has a name, all others are `other`.

Invariant: what is counted of a partition lies between its first offset and the offset that was read to, give or take one chunk at
the beginning.
"""

from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice

import msgspec

from penstock.errors import ErrorKind
from penstock_transformer.broker.records import Partition
from penstock_transformer.worker.dead_letters import CRASHED, Letter

CHUNK_OFFSETS = 4096
MOST_CHUNKS = 1024
NEWEST = 1000
OTHER = "other"
REASONS = frozenset({*(kind.value for kind in ErrorKind), CRASHED, "unknown"})
_TEXT = 500


class Entry(msgspec.Struct, frozen=True):
    """A letter as a list shows it: nothing of its payload but the size. Times in s of the Unix epoch."""

    partition: int
    offset: int
    id: str
    reason: str
    message: str
    field: str | None
    request: str
    attempts: int
    failed_s: float
    written_ms: int
    nbytes: int
    omitted: tuple[str, ...]

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        return self.partition, self.offset


def entry_of(letter: Letter) -> Entry:
    """What is kept of a letter."""
    return Entry(
        partition=letter.at.number,
        offset=letter.offset,
        id=letter.id[:_TEXT],
        reason=letter.reason[:_TEXT],
        message=letter.message[:_TEXT],
        field=None if letter.field is None else letter.field[:_TEXT],
        request=letter.position[:_TEXT],
        attempts=letter.attempts,
        failed_s=letter.since_s,
        written_ms=letter.written_ms,
        nbytes=len(letter.value or b""),
        omitted=letter.omitted,
    )


def label_of(reason: str) -> str:
    """A reason as it is counted."""
    return reason if reason in REASONS else OTHER


class LetterCounts:
    """The letters of one topic. `next_of` says where reading goes on."""

    def __init__(self) -> None:
        self._chunks: dict[int, dict[int, Counter[str]]] = {}
        self._next: dict[int, int] = {}
        self._newest: deque[Entry] = deque(maxlen=NEWEST)

    def add(self, letter: Letter) -> None:
        """One more, in the order of its partition; one that was counted before is passed over."""
        number = letter.at.number
        if letter.offset < self._next.get(number, 0):
            return
        self._next[number] = letter.offset + 1
        chunks = self._chunks.setdefault(number, {})
        index = letter.offset // CHUNK_OFFSETS
        if index not in chunks and len(chunks) >= MOST_CHUNKS:
            # The two oldest become one: it is taken off when the younger of them is over.
            older, younger = islice(chunks, 2)
            chunks[younger].update(chunks.pop(older))
        chunks.setdefault(index, Counter())[label_of(letter.reason)] += 1
        self._newest.append(entry_of(letter))

    def read_to(self, partition: int, offset: int) -> None:
        """Nothing more is before this offset."""
        self._next[partition] = max(offset, self._next.get(partition, 0))

    def begins(self, partition: int, first: int, end: int) -> None:
        """What the topic keeps now lies between these. Offsets that have fallen say that it was made anew."""
        if end < self._next.get(partition, 0):
            self._next.pop(partition)
            self._chunks.pop(partition, None)
            self._newest = deque((entry for entry in self._newest if entry.partition != partition), maxlen=NEWEST)
        chunks = self._chunks.get(partition, {})
        for index in [index for index in chunks if (index + 1) * CHUNK_OFFSETS <= first]:
            del chunks[index]
        while self._newest and self._newest[0].partition == partition and self._newest[0].offset < first:
            self._newest.popleft()

    def next_of(self, partition: int) -> int:
        """The offset of `partition` that is read next."""
        return self._next.get(partition, 0)

    def by_reason(self) -> dict[str, int]:
        """How many there are, most frequent first."""
        found: Counter[str] = Counter()
        for chunks in self._chunks.values():
            for counted in chunks.values():
                found.update(counted)
        return dict(found.most_common())

    def newest(self) -> Iterator[Entry]:
        """Those that are remembered, the newest first."""
        return reversed(self._newest)


class Marks:
    """What has been seen to: how many were replayed and dropped, and which of the newest letters are among them."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._what: dict[str, tuple[str, int]] = {}
        self._next = 0

    @property
    def next(self) -> int:
        """The offset of the marks' topic that is read next."""
        return self._next

    def add(self, offset: int, place: str, what: str | None, written_ms: int) -> None:
        """One mark; `what` None takes it away."""
        self._next = offset + 1
        self._what.pop(place, None)
        if what is not None:
            self._what[place] = what, written_ms
            if len(self._what) > self._most:
                del self._what[next(iter(self._what))]

    def read_to(self, offset: int) -> None:
        """Nothing more is before this offset."""
        self._next = max(offset, self._next)

    def begins(self, end: int) -> None:
        """A topic whose end has fallen was made anew."""
        if end < self._next:
            self._next = 0
            self._what.clear()

    def of(self, place: str, written_ms: int) -> str | None:
        """What was done with a letter; None if nothing was."""
        what, written = self._what.get(place, (None, 0))
        return what if written == written_ms else None

    def totals(self) -> dict[str, int]:
        """How many were replayed, and dropped."""
        return dict(Counter(what for what, _ in self._what.values()))


def place_text(topic: str, partition: int, offset: int) -> str:
    """A letter's place as marks name it."""
    return f"{Partition(topic, partition)}/{offset}"
