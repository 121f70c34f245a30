"""A world for relays, in memory: a database, a broker, processes that die, hang and late; and who checks the log.

    seed -> World: submits, effects done or lost or done late, answers delivered or lost, crashes, time -> the log -> check

An effect that its process no longer waits for (it died, or gave up) may still happen later, once: what travels in a network does.
Everything is drawn from one generator, so that a seed is a history.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from penstock_transformer.predictions.resource import Payload
from penstock_transformer.relay import effects as fx
from penstock_transformer.relay import events as ev
from penstock_transformer.relay.machine import RelayLimits, RelayMachine
from penstock_transformer.relay.port import Intent, Slot, Superseded
from penstock_transformer.simulation.intents import LEASE_S, IntentTable

LIMITS = RelayLimits(records=3, nbytes=1000, renew_s=3.0, sweep_s=5.0, retry_s=0.1, retry_most_s=2.0)
TOO_LARGE = 900


class Broker:
    """Transactions by transactional id; the log holds what a read_committed reader sees, in order."""

    def __init__(self) -> None:
        self.epochs: Counter[str] = Counter()
        self.log: list[Intent] = []
        self.markers: list[tuple[str, int]] = []
        self.closed: set[str] = set()

    def open(self, name: str) -> int:
        self.epochs[name] += 1
        return self.epochs[name]

    def commit(self, slot: Slot, epoch: int, number: int, intents: list[Intent]) -> ev.Event:
        if self.epochs[slot.name] != epoch:
            return ev.SendFailed(ev.Fault.FENCED, "fenced")
        for at, one in enumerate(intents):
            if one.payload.nbytes >= TOO_LARGE:
                return ev.SendFailed(ev.Fault.TOO_LARGE, "too large", at)
        if any(one.model in self.closed for one in intents):
            return ev.SendFailed(ev.Fault.REFUSED, "no such topic")
        self.log += intents
        self.markers.append((slot.name, number))
        return ev.Sent()

    def marker(self, slot: Slot) -> int:
        return next((number for name, number in reversed(self.markers) if name == slot.name), 0)


@dataclass
class Process:
    """A relay that runs: its machine, what it waits for, and its producer's epoch."""

    owner: str
    machine: RelayMachine
    waiting: list[fx.Effect] = field(default_factory=list)
    answers: list[ev.Event] = field(default_factory=list)
    producer: int = 0


class World:
    """One history. `run` plays it to its end; `broker.log` is what came of it."""

    def __init__(self, seed: int, machine: Callable[[RelayLimits], RelayMachine] = RelayMachine) -> None:
        self.draw = random.Random(seed)
        self.make = machine
        self.database, self.broker = self.new_database(), self.new_broker()
        self.now, self.made = 0.0, 0
        self.submitted: list[Intent] = []
        self.ghosts: list[tuple[fx.Effect, Process]] = []
        self.relays = [self.start(instance) for instance in ("a", "b")]
        self.faults = self.draw.choice((0.02, 0.1, 0.3))

    new_database: Callable[[], IntentTable] = staticmethod(IntentTable)
    new_broker: Callable[[], Broker] = staticmethod(Broker)

    def start(self, instance: str) -> Process:
        self.made += 1
        process = Process(f"{instance}:{self.made}", self.make(LIMITS))
        process.waiting += process.machine.start(self.now)
        return process

    def submit(self) -> None:
        sequence = len(self.submitted) + 1
        key = self.draw.choice((None, b"k1", b"k2"))
        nbytes = self.draw.choice((1, 1, 400, 1, TOO_LARGE if self.draw.random() < 0.1 else 1))
        intent = Intent(str(sequence), self.draw.choice("mn"), sequence, Payload(b"", (), nbytes), key)
        self.submitted.append(intent)
        self.database.intents[sequence] = intent
        for process in self.relays:
            if self.draw.random() < 0.8:
                self.tell(process, ev.Woken())

    def tell(self, process: Process, event: ev.Event) -> None:
        process.waiting += process.machine.handle(event, self.now)
        process.waiting = [effect for effect in process.waiting if not isinstance(effect, fx.Finish)]

    def perform(self, effect: fx.Effect, process: Process) -> ev.Event:
        """Do it, and say what its answer would be."""
        try:
            return self.reach(effect, process)
        except Superseded:
            return ev.RenewFailed() if isinstance(effect, fx.Renew) else ev.Lost()

    def reach(self, effect: fx.Effect, process: Process) -> ev.Event:
        database, broker = self.database, self.broker
        match effect:
            case fx.LeaseSlot(take_back):
                return ev.Leased(database.lease(process.owner, self.now, take_back))
            case fx.Open(slot) | fx.Restore(slot):
                process.producer = broker.open(slot.name)
                return ev.Opened()
            case fx.ReadMarker(slot):
                return ev.MarkerRead(broker.marker(slot))
            case fx.LoadBatch(slot, _):
                database.held(slot)
                return ev.Loaded(database.batch(slot))
            case fx.ClaimBatch(slot, after, number, what):
                return ev.Claimed(database.claim(slot, after, number, what))
            case fx.Send(slot, number, intents):
                return broker.commit(slot, process.producer, number, list(intents))
            case fx.MarkBatch(slot, number):
                database.end(slot, number, keep=False)
                return ev.Marked(0)
            case fx.UnclaimBatch(slot, number):
                database.end(slot, number, keep=True)
                return ev.Unclaimed()
            case fx.Refuse(slot, _, intent_id, _):
                database.refuse(slot, intent_id)
                return ev.Refused()
            case fx.Renew(slot):
                return ev.Renewed(database.renew(slot, self.now))
            case fx.Release(slot):
                database.release(slot)
                return ev.Released()
        raise AssertionError(effect)

    def step(self, process: Process) -> None:
        """One thing happens to a process: an effect is done, its answer comes, a deadline."""
        if process.answers:
            self.tell(process, process.answers.pop(0))
        elif process.waiting:
            process.answers.append(self.perform(process.waiting.pop(0), process))
        else:
            deadline = process.machine.deadline
            if deadline is not None and deadline <= self.now:
                self.tell(process, ev.Tick())

    def fault(self, place: int) -> None:
        process = self.relays[place]
        match self.draw.randrange(8):
            case 0 | 1:  # killed, and started again by whoever does that
                self.haunt(process, process.waiting)
                self.relays[place] = self.start(process.owner[0])
            case 2 | 3:  # the answer is lost: done, not done, or done later
                self.lose_answer(process)
            case 4:
                self.now += self.draw.choice((1.0, LEASE_S, 2 * LEASE_S))
            case 5:
                self.broker.closed = self.draw.choice((set(), {"m"}, {"m", "n"}))
            case 6:
                if not process.machine.finished:
                    self.tell(process, ev.Stop())
            case 7:
                process.answers.clear()
                self.haunt(process, process.waiting)
                process.waiting.clear()
                self.tell(process, ev.Broken("a fault of ours"))

    def haunt(self, process: Process, effects: list[fx.Effect]) -> None:
        ghost = Process(process.owner, process.machine, producer=process.producer)
        self.ghosts += [(effect, ghost) for effect in effects]

    def lose_answer(self, process: Process) -> None:
        if process.answers:
            lost = process.answers.pop(0)
            self.tell(process, self.vague(lost))
        elif process.waiting:
            effect = process.waiting.pop(0)
            if self.draw.random() < 0.5:
                self.haunt(process, [effect])
            sent = isinstance(effect, fx.Send | fx.Open | fx.Restore)
            unknown: ev.Event = ev.SendFailed(ev.Fault.UNKNOWN, "lost") if sent else ev.Failed("lost")
            self.tell(process, ev.RenewFailed() if isinstance(effect, fx.Renew) else unknown)

    def vague(self, answer: ev.Event) -> ev.Event:
        match answer:
            case ev.Sent():
                return ev.SendFailed(ev.Fault.UNKNOWN, "lost")
            case ev.SendFailed() | ev.RenewFailed() | ev.Lost():
                return answer
            case ev.Renewed():
                return ev.RenewFailed()
        return ev.Failed("lost")

    def run(self, submits: int = 14) -> None:
        self.chaos(submits)
        self.broker.closed = set()
        self.settle()

    def chaos(self, submits: int) -> None:
        while len(self.submitted) < submits or self.draw.random() < 0.97:
            if len(self.submitted) < submits and self.draw.random() < 0.15:
                self.submit()
            place = self.draw.randrange(2)
            if self.draw.random() < self.faults:
                self.fault(place)
            if self.ghosts and self.draw.random() < 0.1:
                self.perform(*self.ghosts.pop(self.draw.randrange(len(self.ghosts))))
            # Whole runs of steps for one of them, so that the other is away for long.
            for _ in range(self.draw.choice((1, 1, 1, 5, 30))):
                self.step(self.relays[place])
            self.now += self.draw.choice((0.0, 0.01, 0.1, 1.0))
            if self.relays[place].machine.finished:
                self.relays[place] = self.start(self.relays[place].owner[0])

    def settle(self) -> None:
        """No more faults: everything that waits is published soon."""
        for _ in range(3000):
            if not self.database.intents:
                break
            for place in (0, 1):
                if self.relays[place].machine.finished:
                    self.relays[place] = self.start(self.relays[place].owner[0])
                self.step(self.relays[place])
            self.now += 0.05
        for ghost in self.ghosts:
            self.perform(*ghost)


def check(submitted: list[Intent], failed: list[str], log: list[Intent]) -> list[str]:
    """What is wrong with a log: knows nothing of relays. Every id once, unless it failed; ids of a key in their order."""
    seen = Counter(one.id for one in log)
    wrong = [f"{one.id} doubled" for one in submitted if seen[one.id] > 1]
    wrong += [f"{one.id} lost" for one in submitted if seen[one.id] + failed.count(one.id) == 0]
    wrong += [f"{name} failed, and is there" for name in failed if seen[name] or failed.count(name) > 1]
    wrong += [f"{one.id} failed for nothing" for one in submitted if one.id in failed and one.payload.nbytes < TOO_LARGE]
    latest: dict[tuple[str, bytes], int] = {}
    for one in log:
        if one.key is not None:
            if one.sequence < latest.get((one.model, one.key), 0):
                wrong.append(f"{one.id} out of order")
            latest[one.model, one.key] = one.sequence
    return wrong


@dataclass(frozen=True)
class Simulation:
    """What the tests need of this file."""

    world: type[World] = World
    database: type[IntentTable] = IntentTable
    broker: type[Broker] = Broker

    @staticmethod
    def verdict(world: World) -> list[str]:
        return check(world.submitted, world.database.failed, world.broker.log)


@pytest.fixture
def simulation() -> Simulation:
    return Simulation()
