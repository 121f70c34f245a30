"""Which looks' latencies are left out: those of pods that have not answered for long."""

from penstock.evidence.callers import Callers
from penstock.evidence.document import Entry, Latency, Paired
from penstock_operator.warmth import MOST_S, WARM_S, Warmth, without_latency


def cold_looks(warmth: Warmth, pods: list[str], looks: int = 20, *, answers: bool = True) -> int:
    return sum(warmth.look(6.0, pods, answers=answers) for _ in range(looks))


def test_the_first_six_looks_of_requests_are_left_out() -> None:
    warmth = Warmth()
    assert [warmth.look(6.0, ["a.0"], answers=True) for _ in range(8)] == [True] * 6 + [False] * 2
    assert warmth.answered_s >= WARM_S


def test_time_without_requests_warms_nothing_and_uses_up_nothing() -> None:
    warmth = Warmth()
    assert cold_looks(warmth, ["a.0"], 100, answers=False) == 100
    assert cold_looks(warmth, ["a.0"]) == 6


def test_a_pod_that_is_new_or_was_restarted_is_cold_and_one_that_went_or_came_back_is_not() -> None:
    warmth = Warmth()
    cold_looks(warmth, ["a.0", "b.0"])
    assert cold_looks(warmth, ["a.0"]) == 0
    assert cold_looks(warmth, ["a.0", "b.0"]) == 0
    assert cold_looks(warmth, ["a.1", "b.0"]) == 6
    assert cold_looks(warmth, ["a.1", "c.0"]) == 6


def test_pods_that_never_stay_hide_two_minutes_of_a_stage_at_most() -> None:
    warmth = Warmth()
    looks = [warmth.look(6.0, [f"{number}.0"], answers=True) for number in range(100)]
    assert sum(looks) * 6.0 == MOST_S
    assert not any(looks[20:])
    assert len(warmth.pods) <= 256


def test_only_times_are_left_out() -> None:
    by_keys = Paired(requests=4, agreeing=4, slower=4, latency_ratios=[(80, 4)])
    paired = Paired(requests=5, agreeing=5, slower=3, faster=2, latency_ratios=[(80, 5)], only_shadow_failed=1, keys=by_keys)
    entry = Entry("b", 1, requests=9, keys=7, failed_keys={"internal": 1}, latency=Latency([(3, 9)], [(3, 9)]), paired=paired)
    left = without_latency(entry)
    assert (left.requests, left.keys, left.failed_keys, left.latency) == (9, 7, {"internal": 1}, Latency())
    assert left.paired == Paired(requests=5, agreeing=5, only_shadow_failed=1, keys=Paired(requests=4, agreeing=4))
    assert entry.latency.call


def test_how_alike_the_times_of_a_caller_are_is_left_out_with_them() -> None:
    """While all of a version's requests are slow, two of a caller look alike that are not."""
    callers = Callers(7, alike={"score": (5, 4)}, quicker=[(3, 2)], slower=[(4, 2)])
    left = without_latency(Entry("b", 1, keys=7, callers=callers))
    assert left.callers == Callers(7, alike={"score": (5, 4)})
    assert callers.quicker
