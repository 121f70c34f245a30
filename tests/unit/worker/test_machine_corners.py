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
