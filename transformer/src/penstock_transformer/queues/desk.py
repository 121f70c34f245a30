"""What an operator does with dead letters over HTTP: look at one whole, put it back, drop it.

    replay | drop --one at a time, on a thread--> DeadLetterBox (the same as `penstock dead-letters`) --> Done
    whole --> the letter with its bytes, read where it stands

Invariant: a letter is put back once. What decides is the box's mark on the broker, not this process.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from penstock.errors import Conflict, NotFound, Overloaded
from penstock_transformer.broker.port import Fenced
from penstock_transformer.broker.records import Partition
from penstock_transformer.worker.dead_letter_box import DROPPED, REPLAYED, Broker, DeadLetterBox, Wanted
from penstock_transformer.worker.dead_letters import Letter, read_letter

T = TypeVar("T")
MOST_WAITING = 20
_BEYOND = 2**62


class Done(msgspec.Struct, frozen=True):
    """A letter that was seen to: `replayed` or `dropped`, its place and the id of its prediction."""

    model: str
    partition: int
    offset: int
    id: str
    done: str
    at_s: float


class Desk:
    """The dead letters of one model. On the event loop's thread; the broker is spoken to on one of its own."""

    def __init__(self, model: str, parts: Broker, changed: Callable[[], None] = lambda: None) -> None:
        self.model = model
        self._parts = parts
        self._changed = changed
        self._topic = f"{model}.dead-letters"
        self._thread = ThreadPoolExecutor(1, "dead-letters")
        self._waiting = 0

    async def replay(self, partition: int, offset: int) -> Done:
        """Put the original back into the requests. Raises NotFound, Conflict for one that was seen to before or whose bytes were
        left out, Retriable if the broker is away: the same may be asked again then."""
        return await self._seen_to(partition, offset, REPLAYED)

    async def drop(self, partition: int, offset: int) -> Done:
        """Take it off the list. Raises as `replay`."""
        return await self._seen_to(partition, offset, DROPPED)

    async def whole(self, partition: int, offset: int) -> Letter:
        """The letter with its bytes. Raises NotFound."""
        return await self._in_turn(lambda: self._read(partition, offset))

    def close(self) -> None:
        """Nothing new; what is under way ends by itself."""
        self._thread.shutdown(wait=False)

    async def _seen_to(self, partition: int, offset: int, what: str) -> Done:
        done = await self._in_turn(lambda: self._see_to(partition, offset, what))
        self._changed()
        return done

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise Overloaded("too many ask for dead letters at once", retry_after_s=2.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1

    def _see_to(self, partition: int, offset: int, what: str) -> Done:
        letter = self._read(partition, offset)
        box = DeadLetterBox(self.model, self._parts)
        wanted = Wanted(ids=frozenset({letter.place}))
        try:
            report = box.replay(wanted) if what == REPLAYED else box.drop(wanted)
        except Fenced:
            raise Conflict("somebody else sees to dead letters of this model at the same moment; look again") from None
        for _, reason in report.refused:
            raise Conflict(reason)
        if not report.done:
            found = box.find(Wanted(ids=frozenset({letter.place}), done=True), 1)
            mark = found[0].mark if found else None
            raise Conflict("it was seen to before" if mark is None else f"it was {mark.what} before, at {_moment(mark.at_s)}")
        return Done(self.model, partition, offset, letter.id, what, round(time.time(), 3))

    def _read(self, partition: int, offset: int) -> Letter:
        place = Partition(self._topic, partition)
        admin = self._parts.admin()
        try:
            bounds = admin.ends([self._topic])
        finally:
            admin.close()
        first, end = bounds.get(place, (0, 0))
        if not first <= offset < end:
            raise NotFound(f"no dead letter of {self.model} is at {partition}/{offset}")
        start = dict.fromkeys(bounds, _BEYOND) | {place: offset}
        reader = self._parts.reader()
        try:
            record = next((record for record in reader.read(self._topic, start) if record.partition == place), None)
        finally:
            reader.close()
        if record is None or record.offset != offset:
            raise NotFound(f"no dead letter of {self.model} is at {partition}/{offset}")
        return read_letter(record)


def _moment(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
