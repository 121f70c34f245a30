"""Histories of the worker by number: every one keeps its promises, and a machine that cheats is caught.

`PENSTOCK_HISTORIES=100000 PENSTOCK_HISTORIES_FIRST=0` runs others; `python -m penstock_transformer.simulation` runs many side by
side.
"""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from penstock_transformer.broker.port import Fenced
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.simulation.broker import End, SimBroker
from penstock_transformer.simulation.checker import faults
from penstock_transformer.simulation.history import History
from penstock_transformer.simulation.predictor import SimLetters, letter, prediction
from penstock_transformer.worker import effects, events
from penstock_transformer.worker.committing import Committing, OutletState
from penstock_transformer.worker.entries import PartitionQueue
from penstock_transformer.worker.events import Failure
from penstock_transformer.worker.machine import Machine

HISTORIES = int(os.environ.get("PENSTOCK_HISTORIES", "800"))
FIRST = int(os.environ.get("PENSTOCK_HISTORIES_FIRST", "1000000"))
SHARDS = 4
# What must happen in so many histories, or they prove little.
SEEN = (
    "commit fenced", "commit in doubt", "commit rebalanced", "commit retriable", "commit too large", "crash", "crash at effect",
    "drained", "letter crashed", "letter invalid_input", "letter too_large", "overtaken", "partition", "pause",
)  # fmt: skip


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_histories_lose_nothing_and_double_nothing(shard: int) -> None:
    happened: Counter[str] = Counter()
    for number in range(FIRST + shard, FIRST + HISTORIES, SHARDS):
        report = History(number).run()
        assert report.faults == [], f"history {number}"
        happened.update(report.events)
    if HISTORIES >= 600:
        assert [kind for kind in SEEN if kind != "commit fenced" and not happened[kind]] == []


def change_commits(machine: Any, change: Callable[[effects.Commit], effects.Commit]) -> None:
    """Change what it has just asked to commit."""
    machine._effects[:] = [change(effect) if isinstance(effect, effects.Commit) else effect for effect in machine._effects]


class TakesAnyFailureForSuccess(Machine):
    def _commit_failed(self, event: events.CommitFailed, now: float) -> None:
        self._commit_done(events.CommitDone(), now)


class TakesRetriableForSuccess(Machine):
    def _commit_failed(self, event: events.CommitFailed, now: float) -> None:
        if event.failure is Failure.RETRIABLE:
            self._commit_done(events.CommitDone(), now)
        else:
            super()._commit_failed(event, now)


class TakesRebalancedForSuccess(Machine):
    def _commit_failed(self, event: events.CommitFailed, now: float) -> None:
        if event.failure is Failure.REBALANCED:
            self._commit_done(events.CommitDone(), now)
        else:
            super()._commit_failed(event, now)


class TakesDoubtForSuccess(Machine):
    def _commit_failed(self, event: events.CommitFailed, now: float) -> None:
        if event.failure is Failure.IN_DOUBT:
            self._count(self.committing.done())
            self.committing.broken(now, in_doubt=False)
        else:
            super()._commit_failed(event, now)


class TakesDoubtForFailure(Machine):
    def _commit_failed(self, event: events.CommitFailed, now: float) -> None:
        if event.failure is Failure.IN_DOUBT:
            event = events.CommitFailed(Failure.RETRIABLE, event.reason)
        super()._commit_failed(event, now)


class KeepsWhatIsRevoked(Machine):
    def _revoked(self, event: events.Revoked | events.Lost, now: float) -> None:
        pass


class KeepsWhatIsLost(Machine):
    def _forget(self, partitions: Any) -> None:
        """Outcomes that come late are taken for the new assignment's, too."""


class BlamesAtOnce(Machine):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.isolation._deaths_most = 1

    def _no_prediction(self, entry: Any, outcome: Any, *others: Any) -> None:
        super()._no_prediction(entry, outcome, *others)
        if self.isolation._died:
            self.isolation._died.clear()
            entry.out, entry.reason = self._letters.crashed(entry.record, 1), "crashed"
            entry.queue.gather()


class GivesSuspectsUp(Machine):
    def _no_prediction(self, entry: Any, outcome: Any, *others: Any) -> None:
        super()._no_prediction(entry, outcome, *others)
        self.isolation.stop()


class CommitsOneOffsetTooMany(Machine):
    def _commit(self, now: float) -> None:
        super()._commit(now)
        change_commits(self, lambda commit: effects.Commit(commit.records, {p: at + 1 for p, at in commit.offsets.items()}))


class CommitsOffsetsFirst(Machine):
    def _commit(self, now: float) -> None:
        super()._commit(now)
        change_commits(self, lambda commit: effects.Commit(commit.records[:-1] or commit.records, commit.offsets))


class DropsTheBoundWhileTooLarge(Machine):
    def _too_large(self, event: events.CommitFailed) -> None:
        self._commit_done(events.CommitDone(), 0.0)


CHEATS = [
    TakesAnyFailureForSuccess, TakesRetriableForSuccess, TakesRebalancedForSuccess, TakesDoubtForSuccess, TakesDoubtForFailure,
    KeepsWhatIsRevoked, KeepsWhatIsLost, BlamesAtOnce, GivesSuspectsUp, CommitsOneOffsetTooMany, CommitsOffsetsFirst,
    DropsTheBoundWhileTooLarge,
]  # fmt: skip


def caught(**changes: Any) -> list[str]:
    for number in range(FIRST, FIRST + 400):
        found = History(number, **changes).run().faults
        if found:
            return found
    return []


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_machine_that_cheats_is_caught(cheat: type[Machine]) -> None:
    assert caught(machine=cheat)


def test_a_finished_record_behind_an_unfinished_one_may_not_be_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(self: PartitionQueue) -> None:
        self.ready += [entry for entry in self.waiting if entry.out is not None]
        for entry in self.ready:
            if entry in self.waiting:
                self.waiting.remove(entry)

    monkeypatch.setattr(PartitionQueue, "gather", gather)
    assert caught()


def test_a_commit_under_another_generation_than_its_ownership_is_caught() -> None:
    def trusting(broker: SimBroker) -> None:
        broker.checks_generations = False

    assert caught(broker=trusting)


def test_a_transaction_that_begins_before_the_one_before_is_durable_is_caught() -> None:
    def hasty(broker: SimBroker) -> None:
        """A commit returns when its end is on its way; of two that are, the newer comes first."""
        durable, pass_time, comes = broker.end, broker.pass_time, Random(0).random
        under_way: list[tuple[str, int]] = []

        def end(name: str, epoch: int, what: End) -> None:
            if what is End.COMMITTED:
                under_way.append((name, epoch))
            elif (name, epoch) not in under_way:
                durable(name, epoch, what)

        def passing(now: float) -> None:
            if under_way and broker.up and comes() < 0.1:
                with suppress(Fenced):
                    durable(*under_way.pop(), End.COMMITTED)
            pass_time(now)

        broker.end, broker.pass_time = end, passing  # type: ignore[method-assign]

    found = caught(broker=hasty)
    assert found
    assert not any("halt" in fault for fault in found)


def test_an_open_transaction_that_is_committed_once_it_has_its_offsets_is_caught() -> None:
    def trusting(broker: SimBroker) -> None:
        """What its owner left open is not aborted if there are offsets: as if they came behind all records."""
        decide = broker._decide

        def deciding(name: str, end: End) -> None:
            decide(name, End.COMMITTED if broker._transactions[name].offsets else end)

        broker._decide = deciding  # type: ignore[method-assign]

    assert caught(broker=trusting)


def test_offsets_that_count_in_the_order_of_their_marks_are_caught() -> None:
    def forgetful(broker: SimBroker) -> None:
        broker.is_newest = lambda *_: True  # type: ignore[method-assign]

    assert caught(broker=forgetful)


def test_offsets_that_are_told_before_their_mark_are_caught() -> None:
    def hasty(broker: SimBroker) -> None:
        broker.stable = lambda _: True  # type: ignore[method-assign]

    assert caught(broker=hasty)


def test_a_reader_that_passes_over_what_is_not_marked_is_caught() -> None:
    def passing(broker: SimBroker) -> None:
        def read(partition: Partition, position: int) -> tuple[int, list[OutRecord]]:
            log = broker.log[partition]
            return len(log), [
                record
                for record, transaction in log[position:]
                if transaction.end is End.COMMITTED and partition not in transaction.unmarked
            ]

        broker.read = read  # type: ignore[method-assign]

    assert caught(broker=passing)


def test_a_history_is_the_same_whenever_it_is_played() -> None:
    first, second = ([History(number).run() for number in range(FIRST, FIRST + 5)] for _ in range(2))
    assert first == second


def test_a_worker_that_stops_committing_is_caught_as_a_halt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Committing, "outdated", lambda self, now: setattr(self, "state", OutletState.OVER))
    assert any("halt" in fault for fault in caught())


class TestChecker:
    """The checker by itself: each promise, broken once."""

    asked = Partition("m.requests", 0)
    out = Partition("m.predictions", 0)
    dead = Partition("m.dead-letters", 0)

    def record(self, offset: int, value: bytes = b"fine") -> Record:
        return Record(self.asked, offset, 0, None, value)

    def found(self, requests: list[Record], predictions: list[OutRecord], letters: list[OutRecord] | None = None) -> list[str]:
        return faults({self.asked: requests}, {self.out: predictions, self.dead: letters or []})

    def test_all_is_well(self) -> None:
        requests = [self.record(0), self.record(1, b"poison"), self.record(2)]
        answers = [prediction(requests[0]), prediction(requests[2])]
        assert self.found(requests, answers, [SimLetters().crashed(requests[1], 3)]) == []

    def test_lost(self) -> None:
        assert self.found([self.record(0)], [])

    def test_doubled(self) -> None:
        assert self.found([self.record(0)], [prediction(self.record(0))] * 2)

    def test_predicted_and_dead(self) -> None:
        assert self.found([self.record(0)], [prediction(self.record(0))], [letter(self.record(0), "crashed")])

    def test_out_of_order(self) -> None:
        records = [self.record(0), self.record(1)]
        assert self.found(records, [prediction(records[1]), prediction(records[0])])

    def test_wrong_reason(self) -> None:
        assert self.found([self.record(0)], [], [letter(self.record(0), "crashed")])

    def test_never_asked_for(self) -> None:
        assert self.found([], [prediction(self.record(0))])

    def test_wrong_partition(self) -> None:
        record = self.record(0)
        assert faults({self.asked: [record]}, {Partition("m.predictions", 1): [prediction(record)]})
