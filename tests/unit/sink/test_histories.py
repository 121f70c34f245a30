"""Two sinks, any fault at any moment: what was on Kafka is in the database, whatever was read twice, late or not at all at first.

`PENSTOCK_HISTORIES` says how many histories are played (100,000 in the long run); `PENSTOCK_SEED` where they begin.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.predictions.resource import ENDED, Ending, State, changed_by
from penstock_transformer.sink import effects as fx
from penstock_transformer.sink import events as ev
from penstock_transformer.sink.machine import SinkLimits, SinkMachine

HISTORIES = int(os.environ.get("PENSTOCK_HISTORIES", "1000"))
SEED = int(os.environ.get("PENSTOCK_SEED", "0"))
CAUGHT_WITHIN = 2000
LIMITS = SinkLimits(records=4, nbytes=2000, held_records=6, held_bytes=4000, retry_s=0.1, retry_most_s=1.0)
PLACES = [Partition("m.predictions", 0), Partition("m.predictions", 1), Partition("m.dead-letters", 0)]
POISON = "poison"


def prediction(place: Partition, offset: int, identity: str, *, replayed: bool = False) -> Record:
    headers = [("ce_id", identity.encode()), ("content-type", b"application/json")]
    headers += [("penstock-replayed", b"x")] if replayed else []
    return Record(place, offset, 1000, None, b"[]", tuple(headers))


def letter(place: Partition, offset: int, identity: str, *, replayed: bool = False) -> Record:
    headers = [("ce_id", identity.encode())] + ([("penstock-replayed", b"x")] if replayed else [])
    headers += [("penstock-reason", b"internal"), ("penstock-message", b"no"), ("penstock-position", b"m.requests/0/1")]
    return Record(place, offset, 1000, None, b"{}", tuple(headers))


class Member:
    """A sink that runs: its machine, what it was asked to do, where it reads."""

    def __init__(self, machine: SinkMachine) -> None:
        self.machine = machine
        self.ours: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.asked: list[fx.Effect] = []


class World:
    def __init__(self, seed: int, make: Callable[[SinkLimits], SinkMachine] = SinkMachine) -> None:
        self.draw = random.Random(seed)
        self.make = make
        self.now = 0.0
        self.logs: dict[Partition, list[Record]] = {place: [] for place in PLACES}
        self.committed = dict.fromkeys(PLACES, 0)
        self.states: dict[str, State] = {}
        self.expected: dict[str, State] = {}
        self.twice: list[str] = []
        self.most_held = 0
        self.members = [Member(make(LIMITS)), Member(make(LIMITS))]
        for number in range(self.draw.randrange(5, 20)):
            self.predict(f"id{number}")
        self.assign()

    def predict(self, identity: str) -> None:
        """One of ours (or not), with all that Kafka will ever say of it."""
        kind = self.draw.choice(("made", "made", "failed", "replayed", "failed again", "foreign", "unreadable", POISON))
        ours = kind not in ("foreign", "unreadable", POISON)
        if ours:
            self.states[identity] = State.STARTING
            self.expected[identity] = State.SUCCEEDED if kind in ("made", "replayed") else State.FAILED
        if kind in ("failed", "replayed", "failed again"):
            self.append(PLACES[2], lambda *at: letter(*at, identity))
        if kind in ("made", "foreign", POISON):
            name = POISON if kind == POISON else identity
            self.append(self.draw.choice(PLACES[:2]), lambda *at: prediction(*at, name))
        if kind == "replayed":
            self.append(self.draw.choice(PLACES[:2]), lambda *at: prediction(*at, identity, replayed=True))
        if kind == "failed again":
            self.append(PLACES[2], lambda *at: letter(*at, identity, replayed=True))
        if kind == "unreadable":
            place = self.draw.choice(PLACES)
            self.append(place, lambda *at: Record(*at, 1000, None, b"\xff", ()))

    def append(self, place: Partition, make: Callable[..., Record]) -> None:
        self.logs[place].append(make(place, len(self.logs[place])))

    def assign(self) -> None:
        """A rebalance: every partition to one of them."""
        for place in PLACES:
            chosen = self.draw.choice(self.members)
            for member in self.members:
                if place in member.ours and member is not chosen:
                    del member.ours[place]
                    member.paused.discard(place)
                    self.tell(member, ev.Taken((place,)))
            if place not in chosen.ours:
                chosen.ours[place] = self.committed[place]
                self.tell(chosen, ev.Assigned((place,)))

    def tell(self, member: Member, event: ev.Event) -> None:
        for effect in member.machine.handle(event, self.now):
            match effect:
                case fx.Pause(partitions):
                    member.paused |= set(partitions)
                case fx.Resume(partitions):
                    member.paused -= set(partitions)
                case fx.Write() | fx.Commit():
                    member.asked.append(effect)
        self.most_held = max(self.most_held, member.machine.held)

    def poll(self, member: Member) -> None:
        place = self.draw.choice(PLACES)
        if place in member.ours and place not in member.paused:
            begin = member.ours[place]
            found = self.logs[place][begin : begin + self.draw.randrange(1, 4)]
            if found:
                member.ours[place] = begin + len(found)
                self.tell(member, ev.Polled(found))

    def end(self, endings: Sequence[Ending]) -> ev.Event:
        """What the database does."""
        if any(ending.id == POISON for ending in endings):
            return ev.WriteRefused("a fault")
        changed = unknown = 0
        for ending in endings:
            state = self.states.get(ending.id)
            if state is None:
                unknown += 1
            elif changed_by(state, ending):
                if state in ENDED and not ending.replayed:
                    self.twice.append(ending.id)
                self.states[ending.id] = ending.state
                changed += 1
        return ev.Written(changed, unknown)

    def perform(self, member: Member, faults: float) -> None:
        if not member.asked:
            return
        effect = member.asked.pop(self.draw.randrange(len(member.asked)))
        before, after = self.draw.random() < faults, self.draw.random() < faults
        if isinstance(effect, fx.Write):
            answer: ev.Event = ev.WriteFailed("away") if before else self.end(effect.endings)
            self.tell(member, ev.WriteFailed("lost") if after and isinstance(answer, ev.Written) else answer)
        elif isinstance(effect, fx.Commit):
            good = not before and all(place in member.ours for place in effect.offsets)
            if good:
                self.committed |= effect.offsets
            self.tell(member, ev.Committed() if good and not after else ev.CommitFailed("refused or lost"))

    def run(self) -> None:
        for _ in range(self.draw.randrange(20, 200)):
            self.step(0.2)
            match self.draw.randrange(40):
                case 0:
                    self.assign()
                case 1:
                    self.crash(self.draw.randrange(2))
                case 2:
                    self.tell(self.draw.choice(self.members), ev.Stop())
        self.crash(0)
        self.crash(1)
        for _ in range(3000):
            if self.over():
                break
            self.step(0.0)

    def step(self, faults: float) -> None:
        self.now += self.draw.choice((0.0, 0.05, 0.5))
        member = self.draw.choice(self.members)
        deadline = member.machine.deadline
        if deadline is not None and deadline <= self.now:
            self.tell(member, ev.Tick())
        self.draw.choice((lambda: self.poll(member), lambda: self.perform(member, faults)))()

    def crash(self, number: int) -> None:
        """Killed, or it has stopped: another comes, and begins at what was committed."""
        self.members[number] = Member(self.make(LIMITS))
        self.assign()

    def over(self) -> bool:
        return all(self.committed[place] == len(log) for place, log in self.logs.items())

    def verdict(self) -> list[str]:
        """What is wrong in the end: knows the topics and the database, and nothing of sinks."""
        wrong = [f"{name} is {self.states[name]}" for name, state in self.expected.items() if self.states[name] is not state]
        wrong += [f"{name} changed after its end" for name in self.twice]
        wrong += [f"{place} stands still" for place, log in self.logs.items() if self.committed[place] != len(log)]
        # What may wait, the poll that comes on top of it, and what is being written.
        if self.most_held > LIMITS.held_records + 3 + LIMITS.records:
            wrong.append(f"{self.most_held} records held")
        return wrong


@pytest.mark.timeout(3600)
def test_everything_that_was_read_is_in_the_database_in_the_end() -> None:
    ended = 0
    for seed in range(SEED, SEED + HISTORIES):
        world = World(seed)
        world.run()
        assert world.verdict() == [], f"seed {seed}"
        ended += len(world.expected)
    assert ended > 3 * HISTORIES


class Hasty(SinkMachine):
    """Lets offsets be committed when their endings are asked for, not when they are written."""

    def _write(self) -> list[fx.Effect]:
        found = super()._write()
        for entry in self._writing:
            self._done[entry.partition] = entry.offset + 1
        return found


class Forgetful(SinkMachine):
    """Takes a write that failed for done."""

    def _write_again(self, wait_s: float) -> None:
        self._finish(self._writing)


class Greedy(SinkMachine):
    """Reads on, whatever waits."""

    def _brake(self) -> list[fx.Effect]:
        return []


class Stubborn(SinkMachine):
    """Tries what is refused again, whole."""

    def _refused(self) -> None:
        self._write_again(0.1)


class Careless(SinkMachine):
    """Commits past what it has not written, where a partition's records came twice."""

    def _take(self, records: Sequence[Record]) -> None:
        super()._take(records[-1:])


@pytest.mark.parametrize("wrong", [Hasty, Forgetful, Greedy, Stubborn, Careless])
def test_a_machine_that_is_wrong_is_found_out(wrong: type[SinkMachine]) -> None:
    def found(seed: int) -> Any:
        world = World(seed, wrong)
        world.run()
        return world.verdict()

    assert any(found(seed) for seed in range(CAUGHT_WITHIN))
