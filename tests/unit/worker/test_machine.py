"""The machine, event by event: prefixes, transactions and how they end, retries, drains, partitions that come and go."""

from typing import Any

import pytest

from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.simulation.predictor import prediction
from penstock_transformer.worker import effects, events
from penstock_transformer.worker.events import Failure

A, B = Partition("m.requests", 0), Partition("m.requests", 1)


def position(record: Any) -> bytes:
    found: bytes = dict(record.headers)["penstock-position"]
    return found


def test_what_is_read_is_predicted_and_committed_with_its_offset(driven: Any) -> None:
    driven.assign()
    records = driven.poll(3)
    assert driven.predicting() == records
    driven.answer(*records)
    commit = driven.last(effects.Commit)
    assert [position(record) for record in commit.records] == [record.position.encode() for record in records]
    assert commit.offsets == {A: 3}
    driven.tell(events.CommitDone())
    assert driven.machine.tally.predictions == 3
    assert len(driven.machine.queues[A]) == 0


def test_only_the_finished_prefix_is_committed(driven: Any) -> None:
    driven.assign()
    first, second, third = driven.poll(3)
    driven.answer(third)
    driven.answer(second)
    assert driven.all(effects.Commit) == []
    driven.answer(first)
    assert driven.last(effects.Commit).offsets == {A: 3}


def test_a_slow_partition_holds_no_other(driven: Any) -> None:
    driven.assign(A, B)
    driven.poll(2, A)
    quick = driven.poll(2, B)
    driven.answer(*quick)
    assert driven.last(effects.Commit).offsets == {B: 2}


def test_one_transaction_at_a_time_and_what_finishes_meanwhile_goes_into_the_next(driven: Any) -> None:
    driven.assign()
    records = driven.poll(3)
    driven.answer(records[0])
    driven.answer(records[1])
    driven.answer(records[2])
    assert [len(commit.records) for commit in driven.all(effects.Commit)] == [1]
    driven.tell(events.CommitDone())
    assert [len(commit.records) for commit in driven.all(effects.Commit)] == [1, 2]


def test_a_transaction_is_bounded_in_records_and_bytes(make: Any) -> None:
    driven = make(transaction_records=2)
    driven.assign()
    driven.answer(*driven.poll(5))
    assert driven.last(effects.Commit).offsets == {A: 2}
    driven = make(transaction_bytes=1)
    driven.assign()
    driven.answer(*driven.poll(5))
    assert driven.last(effects.Commit).offsets == {A: 1}


def test_where_not_all_fit_each_partition_comes_to_its_turn(make: Any) -> None:
    driven = make(transaction_records=2)
    driven.assign(A, B)
    driven.answer(*driven.poll(4, A), *driven.poll(4, B))
    for _ in range(3):
        driven.tell(events.CommitDone())
    assert {partition for commit in driven.all(effects.Commit)[:2] for partition in commit.offsets} == {A, B}


def test_transactions_keep_their_distance_unless_they_are_full(make: Any) -> None:
    driven = make(interval_s=1.0, transaction_records=3)
    driven.assign()
    driven.answer(*driven.poll(1))
    driven.now = 0.2
    driven.tell(events.CommitDone())
    driven.answer(*driven.poll(1))
    assert len(driven.all(effects.Commit)) == 1
    driven.wait()
    assert len(driven.all(effects.Commit)) == 2
    driven.tell(events.CommitDone())
    driven.answer(*driven.poll(3))
    assert len(driven.all(effects.Commit)) == 3


def test_records_of_partitions_that_are_not_ours_and_those_read_twice_are_dropped(driven: Any) -> None:
    driven.assign()
    records = driven.poll(2)
    sent = len(driven.all(effects.Predict))
    driven.tell(events.Polled(records))
    driven.tell(events.Polled([Record(B, 0, 0, None, b"")]))
    assert len(driven.all(effects.Predict)) == sent


class TestCommitsThatFail:
    def test_retriable_commits_the_same_outputs_again_after_the_outlet_works(self, driven: Any) -> None:
        driven.assign()
        records = driven.poll(2)
        driven.answer(*records)
        driven.tell(events.CommitFailed(Failure.RETRIABLE, "away"))
        assert driven.all(effects.Restore) == []
        driven.wait()
        assert len(driven.all(effects.Restore)) == 1
        driven.tell(events.Restored())
        first, second = driven.all(effects.Commit)
        assert list(first.records) == list(second.records)
        assert len(driven.all(effects.Predict)) == 1

    def test_the_wait_grows_while_the_outlet_cannot_be_restored(self, driven: Any) -> None:
        driven.assign()
        driven.answer(*driven.poll())
        driven.tell(events.CommitFailed(Failure.RETRIABLE, "away"))
        waits = []
        for _ in range(4):
            waits.append(driven.last(effects.WakeAt).when - driven.now)
            driven.wait()
            driven.tell(events.RestoreFailed(Failure.RETRIABLE, "away"))
        assert [1, 2, 4, 8] >= waits >= [0.5, 1, 2, 4]

    @pytest.mark.parametrize("told, again", [(2, 0), (None, 2), (0, 2), (1, 1)])
    def test_in_doubt_is_decided_by_the_committed_offset(self, driven: Any, told: int | None, again: int) -> None:
        driven.assign()
        driven.answer(*driven.poll(2))
        driven.tell(events.CommitFailed(Failure.IN_DOUBT, "no answer"))
        driven.wait()
        driven.tell(events.Restored())
        assert driven.last(effects.AskCommitted).partitions == [A]
        assert len(driven.all(effects.Commit)) == 1
        driven.tell(events.CommittedOffsets({A: told}))
        commits = driven.all(effects.Commit)[1:]
        assert sum(len(commit.records) for commit in commits) == again
        assert driven.machine.tally.predictions == 2 - again

    def test_in_doubt_stays_so_until_the_broker_can_say(self, driven: Any) -> None:
        driven.assign()
        driven.answer(*driven.poll(2))
        driven.tell(events.CommitFailed(Failure.IN_DOUBT, "no answer"))
        driven.wait()
        driven.tell(events.RestoreFailed(Failure.IN_DOUBT, "away"))
        driven.wait()
        driven.tell(events.Restored())
        driven.tell(events.CommittedOffsets(None))
        driven.wait()
        assert len(driven.all(effects.AskCommitted)) == 2
        driven.tell(events.CommittedOffsets({A: 2}))
        assert len(driven.all(effects.Commit)) == 1

    def test_in_doubt_of_partitions_that_have_gone_is_nobodys_question(self, driven: Any) -> None:
        driven.assign(A, B)
        driven.answer(*driven.poll(1, A))
        driven.tell(events.CommitFailed(Failure.IN_DOUBT, "no answer"))
        driven.tell(events.Lost((A,)))
        driven.answer(*driven.poll(1, B))
        driven.wait()
        driven.tell(events.Restored())
        assert driven.all(effects.AskCommitted) == []
        assert driven.last(effects.Commit).offsets == {B: 1}

    def test_rebalanced_commits_what_is_still_ours_as_a_member_of_the_group_of_then(self, driven: Any) -> None:
        driven.assign(A, B)
        driven.answer(*driven.poll(1, A), *driven.poll(1, B))
        driven.tell(events.CommitFailed(Failure.REBALANCED, "older generation"))
        assert len(driven.all(effects.Regroup)) == 1
        driven.tell(events.Revoked((A,)))
        driven.wait()
        assert driven.last(effects.Commit).offsets == {B: 1}
        assert driven.all(effects.Restore) == []

    @pytest.mark.parametrize("failure", [Failure.FENCED, Failure.REFUSED])
    def test_fenced_and_refused_stop_without_another_commit(self, driven: Any, failure: Failure) -> None:
        driven.assign()
        driven.answer(*driven.poll(1))
        driven.answer(*driven.poll(1))
        driven.tell(events.CommitFailed(failure, "no"))
        assert driven.last(effects.Stop).status == 1
        assert driven.tell(events.CommitDone()) == []
        assert len(driven.all(effects.Commit)) == 1

    def test_a_producer_fenced_while_it_is_restored_stops(self, driven: Any) -> None:
        driven.assign()
        driven.answer(*driven.poll(1))
        driven.tell(events.CommitFailed(Failure.RETRIABLE, "away"))
        driven.wait()
        driven.tell(events.RestoreFailed(Failure.FENCED, "a newer one"))
        assert driven.last(effects.Stop).status == 1


class TestTooLarge:
    def reasons(self, commit: Any) -> list[bytes | None]:
        return [dict(record.headers).get("penstock-reason") for record in commit.records]

    def test_a_prediction_becomes_a_dead_letter_in_its_place(self, driven: Any) -> None:
        driven.assign()
        driven.answer(*driven.poll(3))
        driven.tell(events.CommitFailed(Failure.TOO_LARGE, "5 MB", at=1))
        assert self.reasons(driven.last(effects.Commit)) == [None, b"too_large", None]

    def test_one_whose_place_nobody_knows_is_found_by_halves(self, driven: Any) -> None:
        driven.assign(A, B)
        records = [*driven.poll(4, A), *driven.poll(4, B)]
        driven.answer(*records)
        bad = records[6].position.encode()
        while driven.machine.tally.predictions + driven.machine.tally.letters.total() < 8:
            commit = driven.last(effects.Commit)
            large = any(position(record) == bad and record.topic == "m.predictions" for record in commit.records)
            driven.tell(events.CommitFailed(Failure.TOO_LARGE, "?") if large else events.CommitDone())
            assert len(driven.all(effects.Commit)) < 12
        assert driven.machine.tally.letters == {"too_large": 1}

    def test_a_dead_letter_leaves_out_its_value_then_its_key_and_headers_and_says_so(self, driven: Any) -> None:
        driven.assign()
        driven.refuse(driven.poll(1, value=b"v" * 50)[0])
        driven.tell(events.CommitFailed(Failure.TOO_LARGE, "?", at=0))
        (letter,) = driven.last(effects.Commit).records
        assert (letter.key, letter.value) == (b"k", None)
        assert dict(letter.headers)["penstock-omitted-value-bytes"] == b"50"
        driven.tell(events.CommitFailed(Failure.TOO_LARGE, "?", at=0))
        (letter,) = driven.last(effects.Commit).records
        assert letter.key is None
        assert dict(letter.headers)["penstock-omitted-key-bytes"] == b"1"
        assert dict(letter.headers)["penstock-reason"] == b"invalid_input"
        driven.tell(events.CommitFailed(Failure.TOO_LARGE, "?", at=0))
        driven.tell(events.CommitFailed(Failure.TOO_LARGE, "?", at=0))
        assert driven.last(effects.Stop).status == 1


class TestPartitions:
    def test_a_commit_under_way_keeps_them(self, driven: Any) -> None:
        driven.assign(A, B)
        driven.answer(*driven.poll(1, A))
        driven.tell(events.Revoked((A, B)))
        assert not driven.machine.may_release((A,))
        assert driven.machine.may_release((B,))
        driven.tell(events.CommitDone())
        assert driven.machine.may_release((A,))

    def test_outcomes_that_come_after_they_have_gone_are_dropped(self, driven: Any) -> None:
        driven.assign()
        records = driven.poll(2)
        driven.tell(events.Lost((A,)))
        driven.assign()
        driven.answer(*records)
        assert driven.all(effects.Commit) == []
        assert driven.machine.tally.dropped == 2

    def test_an_aborted_commit_of_theirs_is_not_made_again(self, driven: Any) -> None:
        driven.assign()
        driven.answer(*driven.poll(1))
        driven.tell(events.Lost((A,)))
        driven.tell(events.CommitFailed(Failure.RETRIABLE, "away"))
        driven.wait()
        driven.tell(events.Restored())
        assert len(driven.all(effects.Commit)) == 1


class TestAway:
    def test_the_record_is_tried_again_and_its_partition_paused_meanwhile(self, driven: Any) -> None:
        driven.assign(A, B)
        first, second = driven.poll(2, A)
        driven.answer(second)
        driven.away(first)
        assert driven.last(effects.Pause).partitions == [A]
        driven.answer(*driven.poll(1, B))
        assert driven.last(effects.Commit).offsets == {B: 1}
        driven.tell(events.CommitDone())
        driven.wait()
        assert driven.predicting() == [first]
        assert driven.last(effects.Resume).partitions == [A]
        driven.answer(first)
        assert driven.last(effects.Commit).offsets == {A: 2}
        assert driven.machine.tally.letters == {}

    def test_no_sooner_than_asked_for(self, driven: Any) -> None:
        driven.assign()
        driven.away(*driven.poll(1), after_s=30)
        assert driven.last(effects.WakeAt).when >= 30

    def test_the_wait_doubles_up_to_its_most(self, driven: Any) -> None:
        driven.assign()
        (record,) = driven.poll(1)
        waits = []
        for _ in range(6):
            driven.away(record)
            waits.append(driven.last(effects.WakeAt).when - driven.now)
            driven.wait()
        assert all(low <= wait <= 2 * low for low, wait in zip([0.5, 1, 2, 4, 4, 4], waits, strict=True))


class TestDrain:
    def test_nothing_more_is_taken_what_is_in_flight_is_committed(self, driven: Any) -> None:
        driven.assign()
        records = driven.poll(2)
        driven.tell(events.Drain(100.0))
        assert driven.last(effects.Pause).partitions == [A]
        assert driven.poll(1)
        assert driven.all(effects.Stop) == []
        driven.answer(*records)
        assert driven.last(effects.Commit).offsets == {A: 2}
        assert driven.all(effects.Stop) == []
        driven.tell(events.CommitDone())
        assert driven.last(effects.Stop) == effects.Stop("drained", 0)

    def test_what_waits_for_another_try_is_left_to_others(self, driven: Any) -> None:
        driven.assign()
        driven.away(*driven.poll(1))
        driven.tell(events.Drain(100.0))
        assert driven.last(effects.Stop).status == 0

    def test_the_grace_ends(self, driven: Any) -> None:
        driven.assign()
        driven.poll(1)
        driven.tell(events.Drain(10.0))
        assert driven.last(effects.WakeAt).when == 10.0
        driven.wait()
        assert driven.last(effects.Stop).status == 0


def test_prediction_of_the_simulation_names_its_position() -> None:
    assert position(prediction(Record(A, 7, 0, None, b""))) == b"m.requests/0/7"
