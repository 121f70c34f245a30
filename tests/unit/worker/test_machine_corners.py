"""Corners of the worker's machine: what is left of a plan after a fault, partitions that come anew, budgets after a change."""

from typing import Any

import pytest

from penstock_transformer.broker.records import Partition
from penstock_transformer.simulation.predictor import letter
from penstock_transformer.worker import effects, events
from penstock_transformer.worker.events import Failure

A, B = Partition("m.requests", 0), Partition("m.requests", 1)


def halved(driven: Any, *partitions: Partition) -> None:
    """Four records' commit was too large, nobody knows which: the first half is under way."""
    driven.assign(*partitions)
    driven.answer(*[record for partition in partitions for record in driven.poll(4 // len(partitions), partition)])
    driven.tell(events.CommitFailed(Failure.TOO_LARGE, "?"))
    assert len(driven.last(effects.Commit).records) == 2


class TestHalves:
    def test_after_a_fault_all_of_it_is_tried_again(self, driven: Any) -> None:
        """The other half was planned for an outlet and a group that are not the same any more."""
        halved(driven, A)
        driven.tell(events.CommitFailed(Failure.RETRIABLE, "away"))
        driven.wait()
        driven.tell(events.Restored())
        assert len(driven.last(effects.Commit).records) == 4

    def test_after_a_rebalance_all_that_is_ours_is_tried_again(self, driven: Any) -> None:
        halved(driven, A)
        driven.tell(events.CommitFailed(Failure.REBALANCED, "newer"))
        driven.wait()
        assert len(driven.last(effects.Commit).records) == 4

    def test_what_was_planned_of_partitions_that_have_gone_is_no_transaction(self, driven: Any) -> None:
        halved(driven, A, B)
        (kept,) = driven.last(effects.Commit).offsets
        driven.tell(events.Lost((A if kept == B else B,)))
        driven.tell(events.CommitDone())
        assert len(driven.all(effects.Commit)) == 2
        driven.answer(*driven.poll(1, kept))
        assert list(driven.last(effects.Commit).offsets) == [kept]


class TestBudget:
    def test_what_does_not_fit_beside_another_partition_waits_its_turn(self, make: Any) -> None:
        driven = make(transaction_bytes=1500)
        driven.assign(A, B)
        (first,) = driven.poll(1, A)
        driven.answer(first)  # under way, so that the next two meet
        small, large = driven.poll(1, A)[0], driven.poll(1, B, value=b"v" * 1400)[0]
        driven.refuse(large)
        driven.answer(small)
        driven.tell(events.CommitDone())
        together = driven.last(effects.Commit).offsets
        driven.tell(events.CommitDone())
        assert len(together) == 1, "the bound is of a transaction, not of each partition's part"
        assert {*together, *driven.last(effects.Commit).offsets} == {A, B}

    def test_a_letter_that_was_made_smaller_takes_less_room(self, make: Any) -> None:
        large = 1900
        driven = make(transaction_bytes=large + 500)
        driven.assign()
        first, second = driven.poll(2, value=b"v" * large)
        assert letter(first, "x").nbytes > large
        driven.refuse(first)
        driven.refuse(second)
        assert len(driven.last(effects.Commit).records) == 1
        driven.tell(events.CommitFailed(Failure.TOO_LARGE, "?", at=0))
        assert len(driven.last(effects.Commit).records) == 2


class TestPartitions:
    def test_one_whose_commit_is_in_doubt_may_go(self, driven: Any) -> None:
        """Nothing is under way that its going would disturb; who has it next asks what was committed."""
        driven.assign()
        driven.answer(*driven.poll(1))
        assert not driven.machine.may_release((A,))
        driven.tell(events.CommitFailed(Failure.IN_DOUBT, "?"))
        assert driven.machine.may_release((A,))

    def test_one_that_comes_while_it_is_ours_begins_anew(self, driven: Any) -> None:
        """The client has gone back to the committed offset: what was held is read again."""
        driven.assign()
        records = driven.poll(3)
        driven.assign()
        driven.answer(*records)
        assert driven.all(effects.Commit) == []
        assert driven.machine.tally.dropped == 3

    @pytest.mark.parametrize("end", ["away", "die"])
    def test_what_comes_of_one_that_has_gone_is_nobodys_trouble(self, driven: Any, end: str) -> None:
        driven.assign()
        records = driven.poll(2)
        driven.tell(events.Lost((A,)))
        getattr(driven, end)(*records)
        assert driven.machine.tally.retries == 0
        assert not driven.machine.isolation.active
        assert driven.all(effects.WakeAt) == []

    def test_what_was_read_while_suspects_were_tried_and_has_gone_is_not_predicted(self, driven: Any) -> None:
        driven.assign(A, B)
        driven.die(*driven.poll(1, A))
        driven.poll(2, B)
        driven.tell(events.Lost((A, B)))
        driven.assign(A)
        driven.tell(events.Health(True))
        assert not driven.machine.isolation.active
        driven.poll(1, A)
        assert {record.partition for predict in driven.all(effects.Predict) for record in predict.records} == {A}


class TestIsolation:
    def test_who_found_nobody_before_there_were_suspects_is_none(self, driven: Any) -> None:
        driven.assign()
        dead, away = driven.poll(2)
        driven.die(dead)
        driven.away(away)
        assert driven.machine.tally.retries == 1
        driven.tell(events.Health(True))
        assert driven.predicting() == [dead]

    def test_between_two_tries_of_one_alone_a_while_passes_once(self, driven: Any) -> None:
        """Another worker may try its own at the same moments, and each would be blamed for the other's."""
        driven.assign()
        (record,) = driven.poll(1)
        driven.die(record)
        driven.tell(events.Health(True))
        driven.die(record)
        tries = len(driven.all(effects.Predict))
        driven.tell(events.Health(True))
        assert len(driven.all(effects.Predict)) == tries
        assert driven.last(effects.WakeAt).when > driven.now
        driven.wait()
        driven.tell(events.Health(True))
        assert len(driven.all(effects.Predict)) == tries + 1

    def test_waits_for_a_predictor_that_is_away_grow_and_are_short_again_once_it_took_a_call(self, driven: Any) -> None:
        driven.assign()
        (record,) = driven.poll(1)
        driven.die(record)

        def waited() -> float:
            seconds: float = driven.last(effects.WakeAt).when - driven.now
            driven.wait()
            return seconds

        waits = []
        for _ in range(3):
            driven.tell(events.Health(False))
            waits.append(waited())
        assert 0.5 <= waits[0] <= 1 <= waits[1] <= 2 <= waits[2] <= 4
        driven.tell(events.Health(True))
        driven.away(record)
        assert 4 <= waited() <= 8, "one that answers probes and takes no calls is asked less and less often, too"
        driven.tell(events.Health(True))
        driven.die(record)  # somebody was there
        driven.tell(events.Health(False))
        assert waited() <= 1.0


class TestRoom:
    def test_bytes_are_free_again_when_their_records_are_committed(self, make: Any) -> None:
        driven = make(held_bytes=10_000, transaction_records=3)
        driven.assign()
        before = len(driven.all(effects.Resume))
        records = driven.poll(7, value=b"v" * 1400)
        assert driven.all(effects.Pause) != []
        driven.answer(*records)
        driven.tell(events.CommitDone())
        assert len(driven.all(effects.Resume)) == before, "more than half of the bytes are held still"
        driven.tell(events.CommitDone())
        assert len(driven.all(effects.Resume)) == before + 1


class TestDrain:
    def test_a_commit_under_way_is_waited_for_beyond_the_deadline(self, driven: Any) -> None:
        """Whether it is durable is not known before: the client bounds how long that takes."""
        driven.assign()
        driven.answer(*driven.poll(1))
        driven.tell(events.Drain(5.0))
        driven.tick(6.0)
        assert driven.all(effects.Stop) == []
        driven.tell(events.CommitDone())
        assert driven.last(effects.Stop).status == 0

    def test_what_is_in_flight_of_partitions_that_have_gone_is_not_waited_for(self, driven: Any) -> None:
        driven.assign()
        driven.poll(2)
        driven.tell(events.Lost((A,)))
        driven.tell(events.Drain(5.0))
        assert driven.last(effects.Stop).reason == "drained"
