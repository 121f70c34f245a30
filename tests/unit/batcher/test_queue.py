"""The queue's less usual turns, one by one."""

from typing import Any

import pytest

from penstock.batcher import BatchPolicy, DeadlineQueue
from penstock.batcher.queue import LOOK_AHEAD, SWEEP_S
from penstock.batcher.rate import LONGEST_S, SHORTEST_S, UNMEASURED_S, ServiceRate
from penstock.errors import DeadlineExceeded, Overloaded


def queue_of(**policy: Any) -> DeadlineQueue[Any]:
    return DeadlineQueue(BatchPolicy(**policy), ServiceRate())


def test_a_busy_key_does_not_starve_a_quiet_one(item: Any) -> None:
    queue = queue_of(max_rows=4)
    quiet = item(key="quiet")
    for _ in range(10):
        queue.push(item(key="busy"), 0.0)
    queue.push(quiet, 0.0)
    for at in range(10):  # the busy key goes on arriving
        queue.push(item(key="busy"), 1.0 + at)
    batches = [queue.take(20.0).works for _ in range(4)]
    assert [len(works) for works in batches] == [4, 4, 4, 1]
    assert batches[3] == [quiet]


def test_works_with_deadlines_do_not_starve_those_without(item: Any) -> None:
    """Once a work without a deadline has waited for `patience_s`, newcomers with later deadlines come after it."""
    queue = queue_of(max_rows=1, patience_s=5.0)
    patient = item()
    queue.push(patient, 0.0)
    served = []
    for second in range(10):
        queue.push(item(deadline=second + 2.0), float(second))
        queue.push(item(deadline=second + 2.0), float(second))
        served += queue.take(float(second)).works
    assert patient in served


def test_a_work_larger_than_a_run_goes_alone(item: Any) -> None:
    queue = queue_of(max_rows=4)
    small, large, last = item(2), item(9), item(1)
    for work in (small, large, last):
        queue.push(work, 0.0)
    assert [queue.take(0.0).works for _ in range(3)] == [[small], [large], [last]]


def test_looking_ahead_is_bounded_and_keeps_the_order(item: Any) -> None:
    queue = queue_of(max_queue_items=1000)
    works = [item(key="a"), *(item(key=at) for at in range(LOOK_AHEAD)), item(key="a")]
    for work in works:
        queue.push(work, 0.0)
    assert queue.take(0.0).works == [works[0]]
    assert [queue.take(0.0).works for _ in works[1:]] == [[work] for work in works[1:]]


def test_full_by_items_and_by_bytes(item: Any) -> None:
    queue = queue_of(max_queue_items=2, max_queue_bytes=20)
    assert queue.push(item(nbytes=10), 0.0) is None
    refusal = queue.push(item(nbytes=11), 0.0)
    assert isinstance(refusal, Overloaded)
    assert str(refusal) == "the queue is full: 1 requests of 10 bytes wait"
    assert queue.push(item(nbytes=10), 0.0) is None
    assert isinstance(queue.push(item(nbytes=0), 0.0), Overloaded)


def test_sweeps_are_rare() -> None:
    queue = queue_of()
    assert queue.sweep_due(10.0)
    assert not queue.sweep_due(10.0 + SWEEP_S / 2)
    assert queue.sweep_due(10.0 + SWEEP_S * 2)


def test_rate_is_what_was_measured() -> None:
    rate = ServiceRate()
    assert rate.drain_s(100) == UNMEASURED_S
    rate.started(0.0)
    rate.finished(10, 1.0, idle=True)
    assert rate.drain_s(30) == pytest.approx(3.0)
    rate.started(50.0)  # the idle time before does not count
    rate.finished(10, 51.0, idle=True)
    assert rate.drain_s(30) == pytest.approx(3.0)
    assert rate.drain_s(10**9) == LONGEST_S
    assert rate.drain_s(0) == SHORTEST_S


def test_rate_follows_a_change_and_counts_overlap() -> None:
    rate = ServiceRate()
    rate.started(0.0)
    rate.started(0.5)
    rate.finished(10, 1.0, idle=False)
    rate.finished(10, 1.5, idle=True)  # two runs of a second each, half overlapping
    assert 1.0 < rate.drain_s(20) < 2.0
    for second in range(100):
        rate.started(float(second))
        rate.finished(10, second + 0.1, idle=True)
    assert rate.drain_s(10) == pytest.approx(0.1)
    rate.finished(10, 200.0, idle=True)  # an end without a beginning says nothing
    assert rate.drain_s(10) == pytest.approx(0.1)


@pytest.mark.parametrize("field", ["max_rows", "max_in_flight", "max_queue_items", "max_queue_bytes"])
def test_policy_needs_room(field: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BatchPolicy(**{field: 0})


@pytest.mark.parametrize("wrong", [{"max_delay_ms": -1.0}, {"inline_rows": -1}, {"patience_s": 0.0}])
def test_policy_refuses_negative_times(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        BatchPolicy(**wrong)


def test_a_deadline_passes_at_its_very_instant(item: Any) -> None:
    queue = queue_of()
    assert isinstance(queue.push(item(deadline=1.0), 1.0), DeadlineExceeded)
    taken, expired = item(deadline=2.0), item(deadline=2.0)
    queue.push(taken, 1.0)
    assert [work for work, _ in queue.take(2.0).dropped] == [taken]
    queue.push(expired, 1.0)
    assert [work for work, _ in queue.expire(2.0)] == [expired]
