"""A machine with the world around it played by hand: what it asks for is kept, what it is told is said in a word."""

import itertools
from random import Random
from typing import Any, TypeVar

import pytest

from penstock_transformer.backoff import Backoff
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.simulation.predictor import SimLetters, letter, prediction
from penstock_transformer.worker import effects, events
from penstock_transformer.worker.machine import Machine
from penstock_transformer.worker.outcomes import Answered, Away, Died, Refused
from penstock_transformer.worker.policy import Policy

E = TypeVar("E")
A, B = Partition("m.requests", 0), Partition("m.requests", 1)


class Driven:
    """`now` is the clock; `effects` all that was asked for so far, oldest first."""

    def __init__(self, **policy: Any) -> None:
        self.machine = Machine(Policy(**{"backoff": Backoff(1.0, 8.0), **policy}), SimLetters(), Random(1))
        self.now = 0.0
        self.effects: list[Any] = []
        self._offsets = {A: itertools.count(), B: itertools.count()}

    def tell(self, event: events.Event) -> list[Any]:
        """The effects of an event."""
        found: list[Any] = list(self.machine.handle(event, self.now))
        self.effects += found
        return found

    def assign(self, *partitions: Partition) -> None:
        self.tell(events.Assigned(partitions or (A,)))

    def poll(self, count: int = 1, partition: Partition = A, value: bytes = b"fine") -> list[Record]:
        """New records that were read."""
        offsets = self._offsets[partition]
        records = [Record(partition, next(offsets), 0, b"k", value) for _ in range(count)]
        self.tell(events.Polled(records))
        return records

    def answer(self, *records: Record) -> list[Any]:
        return self.tell(events.Outcomes([(record, Answered(prediction(record))) for record in records]))

    def refuse(self, record: Record) -> list[Any]:
        return self.tell(events.Outcomes([(record, Refused(letter(record, "invalid_input"), "invalid_input"))]))

    def away(self, *records: Record, after_s: float = 0.0) -> list[Any]:
        return self.tell(events.Outcomes([(record, Away("away", after_s)) for record in records]))

    def die(self, *records: Record) -> list[Any]:
        return self.tell(events.Outcomes([(record, Died("ended")) for record in records]))

    def tick(self, after_s: float) -> list[Any]:
        self.now += after_s
        return self.tell(events.Tick())

    def wait(self) -> list[Any]:
        """Go to the time that it asked to be woken at."""
        self.now = self.last(effects.WakeAt).when
        return self.tell(events.Tick())

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def last(self, kind: type[E]) -> E:
        return self.all(kind)[-1]

    def predicting(self) -> list[Record]:
        """What was sent last."""
        return list(self.last(effects.Predict).records)

    def committed(self) -> list[OutRecord]:
        return [record for commit in self.all(effects.Commit) for record in commit.records]


@pytest.fixture
def driven() -> Driven:
    return Driven()


@pytest.fixture
def make() -> type[Driven]:
    return Driven
