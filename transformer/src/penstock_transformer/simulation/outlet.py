"""A transactional outlet of a history: what `broker.port.Outlet` does, in steps between which anything may happen.

    Calls.made --open, commit, restore--> Alternating --> SimOutlet lays out steps --> Calls makes them, one after another

A call only lays its steps out, and the scheduler makes them later. So `Alternating` itself says which id does what, and
in which order, though it knows nothing of steps; what one of them raises ends the call there.

A transaction's offsets come before, among or behind its records, by chance: the clients differ in that, and librdkafka sends them
before the records are written.

Invariant: one transaction of an id at a time: its next begins when the broker has marked the end of the one before.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from penstock_transformer.broker.port import BrokerError, InDoubt, Retriable
from penstock_transformer.broker.records import OutRecord, Partition
from penstock_transformer.simulation.broker import Concurrent, End, SimBroker

Steps = Generator[None, None, None]


class Calls:
    """The steps of the one call that is under way."""

    def __init__(self) -> None:
        self._steps: deque[Steps] = deque()

    def add(self, steps: Steps) -> None:
        """After those that are laid out already."""
        self._steps.append(steps)

    def made(self, call: Callable[[], None]) -> Steps:
        """Make this call. Raises what its steps raise; those that would have come after are not made."""
        self._steps.clear()
        call()
        while self._steps:
            yield from self._steps.popleft()


class SimOutlet:
    """See `broker.port.Outlet`. `name` is its transactional id, `loses_answers` the chance that a commit ends in doubt."""

    def __init__(self, name: str, broker: SimBroker, calls: Calls, random: Random, loses_answers: Callable[[], float]) -> None:
        self._name = name
        self._broker = broker
        self._calls = calls
        self._random = random
        self._loses_answers = loses_answers
        self._epoch = -1
        self._works = False

    def open(self) -> None:
        """Take the id over."""
        self._calls.add(self._opening())

    def commit(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: Any) -> None:
        """Write all records and the offsets, or nothing."""
        self._calls.add(self._committing(records, offsets, group))

    def restore(self) -> None:
        """A producer that works again."""
        if not self._works:
            self._calls.add(self._opening())

    def close(self) -> None:
        """Leave: the broker hears nothing of it."""

    def _opening(self) -> Steps:
        yield
        self._works = False
        self._epoch = yield from _patiently(partial(self._broker.init, self._name))
        self._works = True

    def _committing(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: tuple[str, int]) -> Steps:
        yield
        if not self._works:
            raise Retriable("to be restored first")
        try:
            yield from self._transaction(records, offsets, group)
        except InDoubt:
            self._works = False
            raise
        except BrokerError:
            yield
            self._abort()
            raise

    def _transaction(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: tuple[str, int]) -> Steps:
        broker, name, epoch = self._broker, self._name, self._epoch
        yield from _patiently(partial(broker.begin, name, epoch))
        steps = [partial(broker.produce, name, epoch, record, at) for at, record in enumerate(records)]
        steps.insert(self._random.randint(0, len(steps)), partial(broker.add_offsets, name, epoch, group, offsets))
        for step in steps:
            step()
            if self._random.random() < 0.5:
                yield
        yield
        lost, chance = self._random.random(), self._loses_answers()
        if lost < chance / 2:
            raise InDoubt("the question was lost")
        try:
            broker.end(name, epoch, End.COMMITTED)
        except Retriable as error:
            raise InDoubt(str(error)) from error
        yield
        if lost < chance:
            raise InDoubt("the answer was lost")

    def _abort(self) -> None:
        try:
            self._broker.end(self._name, self._epoch, End.ABORTED)
        except BrokerError:
            self._works = False


def _patiently(question: Callable[[], Any]) -> Generator[None, None, Any]:
    """Ask again, as clients do, while the end of the transaction before is being marked."""
    while True:
        try:
            return question()
        except Concurrent:
            yield
