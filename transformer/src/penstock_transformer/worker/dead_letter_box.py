"""One model's dead letters as somebody who looks after them sees them: which there are, put back, dropped.

    <model>.dead-letters --read_letter--> Letter --replay--> [<model>.requests + a mark in <model>.replays, one transaction]
                                                 --drop----> [a mark]

A mark says of one letter, by its place, that it has been seen to. Mark and request are written together or not at all, and by one
box at a time: opening fences whoever was at it before, and only then are the marks read. So a letter is put back once, whatever
dies in between, and none is passed over. Marks also hold the letter's timestamp, so that those of a topic that was deleted and
made again mean nothing to the new one; marks of letters that the topic no longer keeps are removed.

Blocking: for a command, or a thread.
"""

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple, Protocol

import msgspec

from penstock.errors import InvalidInput
from penstock.failpoints import failpoint
from penstock_transformer.broker.port import Admin, BrokerError, InDoubt, Outlet, Reader, Retriable, TooLargeForTopic, TopicState
from penstock_transformer.broker.records import OutRecord, Partition
from penstock_transformer.worker.dead_letters import Letter, read_letter

REPLAYED, DROPPED = "replayed", "dropped"
_MOST_TRIES = 6
_FIRST_PAUSE_S = 0.2
_BEYOND = 2**62
_DURABLE = ("min.insync.replicas", "unclean.leader.election.enable")
_CHUNK_LETTERS = 200
_CHUNK_BYTES = 4 * 2**20


class Broker(Protocol):
    """What of a broker is needed; `penstock_transformer.worker.box_opening` opens the real one."""

    def reader(self) -> Reader: ...

    def admin(self) -> Admin: ...

    def outlet(self, transactional_id: str) -> Outlet: ...


class Mark(msgspec.Struct, frozen=True):
    """What was done with a letter: `replayed` or `dropped`, and when. `written_ms` is the letter's own timestamp."""

    what: str
    at_s: float
    written_ms: int


class Filed(NamedTuple):
    """A letter, and its mark if it has been seen to."""

    letter: Letter
    mark: Mark | None


class Wanted(NamedTuple):
    """Which letters are meant; None is any. `ids`: ids of predictions, or places, of letters or of their requests. Times in s of
    the Unix epoch. `done`: those that have been seen to, too."""

    reason: str | None = None
    since_s: float | None = None
    ids: frozenset[str] | None = None
    done: bool = False

    def places(self, topic: str) -> set[tuple[Partition, int]] | None:
        """Where in `topic` the letters stand, if that is all that `ids` names."""
        found = set()
        for name in self.ids or ():
            parts = name.rsplit("/", 2)
            if len(parts) != 3 or parts[0] != topic or not (parts[1].isdecimal() and parts[2].isdecimal()):
                return None
            found.add((Partition(topic, int(parts[1])), int(parts[2])))
        return found or None

    def takes(self, filed: Filed) -> bool:
        """Whether a letter is one of these."""
        letter = filed.letter
        return (
            (self.done or filed.mark is None)
            and (self.reason is None or letter.reason == self.reason)
            and (self.since_s is None or letter.since_s >= self.since_s)
            and (self.ids is None or not self.ids.isdisjoint((letter.id, letter.place, letter.position)))
        )


class Report(NamedTuple):
    """What came of a replay or a drop: letters seen to (without what they hold, as there may be many), and those that could not
    be, each with the reason."""

    done: list[Letter]
    refused: list[tuple[Letter, str]]


class DeadLetterBox:
    """The dead letters of `model`. `requests`: the topic that they came from, if there is another than its requests."""

    def __init__(
        self, model: str, broker: Broker, *, requests: str | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._broker = broker
        self._pause = pause
        self.letters = f"{model}.dead-letters"
        self._usual = f"{model}.requests"
        self.requests = requests or self._usual
        self.marks = f"{model}.replays"
        self._transactional_id = f"penstock-{model}-replays"

    def find(self, wanted: Wanted, limit: int) -> list[Filed]:
        """The newest `limit` of the letters that are wanted, oldest first. Raises BrokerError, Retriable."""
        letters, marks = self._topics()
        with closing(self._broker.reader()) as reader:
            filed = self._filed(reader, letters, self._read_marks(marks), wanted)
            return sorted(heapq.nlargest(limit, filter(wanted.takes, filed), key=_age), key=_age)

    def replay(self, wanted: Wanted, limit: int | None = None) -> Report:
        """Put the originals back into the requests, at most `limit`. Raises BrokerError, Retriable: what was not committed by
        then stays, and the same call later goes on with it; Fenced if another box began meanwhile."""
        return self._see_to(wanted, limit, REPLAYED)

    def drop(self, wanted: Wanted, limit: int | None = None) -> Report:
        """Leave them out of what is shown and replayed from now on; the topic keeps them for as long as it keeps anything."""
        return self._see_to(wanted, limit, DROPPED)

    def _see_to(self, wanted: Wanted, limit: int | None, what: str) -> Report:
        letters, marks = self._topics(make_marks=True, back=what == REPLAYED)
        wanted = wanted._replace(done=False)
        report = Report([], [])
        # A client that is left open, be it in a generator that an error left behind, keeps the program from ending.
        with closing(self._broker.outlet(self._transactional_id)) as outlet, closing(self._broker.reader()) as reader:
            outlet.open()
            known = self._read_marks(marks)
            filed = self._filed(reader, letters, known, wanted)
            for chunk in _chunks(self._open_ones(filed, wanted, report, what, limit)):
                self._commit(outlet, chunk, what, report)
            self._forget(outlet, known)
        return report

    def _open_ones(
        self, letters: Iterator[Filed], wanted: Wanted, report: Report, what: str, limit: int | None
    ) -> Iterator[Letter]:
        taken = 0
        for filed in letters:
            if limit is not None and taken >= limit:
                return
            if not wanted.takes(filed):
                continue
            if what == REPLAYED and filed.letter.omitted:
                left_out = " and ".join(filed.letter.omitted)
                report.refused.append(
                    (_bare(filed.letter), f"its {left_out} did not fit into the topic; send it again from its source")
                )
                continue
            taken += 1
            yield filed.letter

    def _commit(self, outlet: Outlet, letters: list[Letter], what: str, report: Report) -> None:
        """One transaction, tried again for as long as that may help: never what is known to be committed."""
        failures = 0
        while letters:
            try:
                outlet.commit(self._records(letters, what), {}, None)
            except TooLargeForTopic as error:
                if error.at is None or error.at >= len(letters) or what == DROPPED:
                    raise
                report.refused.append((_bare(letters[error.at]), error.message))
                letters = letters[: error.at] + letters[error.at + 1 :]
                outlet.restore()
            except Retriable as error:
                failures += 1
                if failures == _MOST_TRIES:
                    raise
                self._pause(_FIRST_PAUSE_S * 2**failures)
                outlet.restore()
                if isinstance(error, InDoubt):
                    marks = self._read_marks(there=True)
                    report.done.extend(_bare(letter) for letter in letters if _mark_of(letter, marks) is not None)
                    letters = [letter for letter in letters if _mark_of(letter, marks) is None]
            else:
                report.done.extend(map(_bare, letters))
                failpoint("replay.committed")
                return

    def _records(self, letters: Sequence[Letter], what: str) -> list[OutRecord]:
        now = time.time()
        marks = [
            OutRecord(self.marks, letter.place.encode(), msgspec.json.encode(Mark(what, now, letter.written_ms)))
            for letter in letters
        ]
        return [*(letter.request(self.requests) for letter in letters), *marks] if what == REPLAYED else marks

    def _forget(self, outlet: Outlet, marks: dict[str, Mark]) -> None:
        """Remove the marks of letters that are gone. Only tidiness: what fails here is done next time."""
        try:
            with closing(self._broker.admin()) as admin:
                ends = admin.ends([self.letters])
            gone = [place for place in marks if _is_gone(place, ends)]
            if gone:
                outlet.commit([OutRecord(self.marks, place.encode(), None) for place in gone], {}, None)
        except BrokerError:
            return

    def _filed(self, reader: Reader, topic: TopicState, marks: dict[str, Mark], wanted: Wanted) -> Iterator[Filed]:
        """All letters, or those alone whose places are asked for."""
        places = wanted.places(self.letters)
        start: dict[Partition, int] = {}
        for partition, offset in places or ():
            start[partition] = min(offset, start.get(partition, offset))
        if places is not None:
            start = {Partition(self.letters, number): _BEYOND for number in range(topic.partitions)} | start
        for record in reader.read(self.letters, start):
            letter = read_letter(record)
            yield Filed(letter, _mark_of(letter, marks))
            if places is not None:
                places.discard((record.partition, record.offset))
                if not places:
                    return

    def _read_marks(self, there: bool) -> dict[str, Mark]:
        marks: dict[str, Mark] = {}
        if not there:
            return marks
        with closing(self._broker.reader()) as reader:
            for record in reader.read(self.marks):
                place = (record.key or b"").decode("utf-8", "replace")
                marks.pop(place, None)
                if record.value:
                    try:
                        marks[place] = msgspec.json.decode(record.value, type=Mark)
                    except msgspec.MsgspecError:
                        raise InvalidInput(f"{record.position} is no mark of ours", field=self.marks) from None
        return marks

    def _topics(self, *, make_marks: bool = False, back: bool = False) -> tuple[TopicState, bool]:
        """The letters' topic, and whether that of the marks is there. Raises BrokerError without the first, or without the
        requests where letters go back to them: many brokers would make that topic at the first record, and nobody read it."""
        with closing(self._broker.admin()) as admin:
            # Who only looks needs no right to the requests.
            found = admin.topics([self.letters, self.marks, *([self.requests] if back else [])])
            letters = found.get(self.letters)
            if letters is None:
                raise BrokerError(f"there is no topic {self.letters}")
            if back and self.requests not in found:
                if not admin.topics([self._usual]):
                    raise BrokerError(f"there is no topic {self.requests} to put them back into")
                # A model's, which is called like a feature set's updates.
                self.requests = self._usual
            if make_marks and self.marks not in found:
                # One partition, compacted: as many marks as there are letters that were seen to. As durable as the letters.
                kept = {name: letters.settings[name] for name in _DURABLE if name in letters.settings}
                admin.create(TopicState(self.marks, 1, letters.replication, {"cleanup.policy": "compact"} | kept))
            return letters, make_marks or self.marks in found


def _age(filed: Filed) -> tuple[int, int, int]:
    return filed.letter.written_ms, filed.letter.at.number, filed.letter.offset


def _bare(letter: Letter) -> Letter:
    return msgspec.structs.replace(letter, key=None, value=None, headers=())


def _mark_of(letter: Letter, marks: dict[str, Mark]) -> Mark | None:
    mark = marks.get(letter.place)
    return mark if mark is not None and mark.written_ms == letter.written_ms else None


def _is_gone(place: str, ends: dict[Partition, tuple[int, int]]) -> bool:
    topic, number, offset = place.rsplit("/", 2)
    first = ends.get(Partition(topic, int(number)))
    return first is None or int(offset) < first[0]


def _chunks(letters: Iterator[Letter]) -> Iterator[list[Letter]]:
    chunk: list[Letter] = []
    nbytes = 0
    for letter in letters:
        size = len(letter.value or b"")
        if chunk and (len(chunk) == _CHUNK_LETTERS or nbytes + size > _CHUNK_BYTES):
            yield chunk
            chunk, nbytes = [], 0
        chunk.append(letter)
        nbytes += size
    if chunk:
        yield chunk
