"""How much came at a time: as requests met it, however often it is looked at."""

import json

import msgspec
import numpy as np
import pytest

from penstock.evidence.document import Entry, Evidence, Process
from penstock.evidence.ledger import Ledger
from penstock_operator.analysis.traffic import Traffic, came_between


def _seen(means: list[float], look_s: float) -> Traffic:
    """So many requests a second in the mean of each look."""
    found = Traffic()
    for requests in np.random.default_rng(3).poisson(np.array(means) * look_s).tolist():
        found = found.after(requests, requests / look_s)
    return found


@pytest.mark.parametrize("rate", [0.05, 1.0, 200.0])
@pytest.mark.parametrize("look_s", [6.0, 30.0])
def test_a_steady_rate_is_what_it_is_however_long_the_looks_are(rate: float, look_s: float) -> None:
    assert _seen([rate] * 40_000, look_s).requests_per_s == pytest.approx(rate, rel=0.1)


def test_time_without_requests_is_no_part_of_it_and_bursts_are_most_of_it() -> None:
    assert _seen([200.0, 0.0, 0.0] * 1000, 6.0).requests_per_s == pytest.approx(200.0, rel=0.01)
    assert _seen([800.0] + [80.0] * 5, 6.0).requests_per_s == pytest.approx((800**2 + 5 * 80**2) / 1200, rel=0.05)


def test_what_came_since_is_the_difference_and_nothing_of_what_was_counted_by_another() -> None:
    before = _seen([100.0] * 9, 6.0)
    kept = msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(before))), Traffic)
    assert kept.and_of(before).requests_per_s == pytest.approx(before.requests_per_s)
    assert before.after(1800, 300.0).since(kept).requests_per_s == pytest.approx(300.0, rel=0.01)
    assert Traffic().since(before) == before.since(before) == Traffic()


@pytest.mark.parametrize(
    ("requests", "rate", "more"),
    [(6000, 150.0, True), (6000, 160.0, False), (6000, 0.0, False), (36, 0.8, False), (36, 0.3, True)],
)
def test_more_is_beyond_a_quarter_and_chance(requests: int, rate: float, more: bool) -> None:
    looks = 5
    came = Traffic()
    for _ in range(looks):
        came = came.after(requests // looks, requests / looks / 6.0)
    assert came.is_more_than(rate) is more
    assert not Traffic().is_more_than(rate)


class Looks:
    """Transformers that share 200 requests a second, and a ledger that is told of them every 6 s."""

    def __init__(self, *names: str) -> None:
        self.sent, self.age_s = dict.fromkeys(names, 0), dict.fromkeys(names, 3600.0)
        self.ledger, self.traffic = Ledger(), Traffic()

    def look(self, *silent: str, seconds: float = 6.0, lying: str = "") -> None:
        told = []
        for name in self.sent:
            self.sent[name] += round(200 * seconds / len(self.sent))
            self.age_s[name] += seconds
            entries = [
                Entry("sha256:a", 1, requests=9 * self.sent[name]),
                Entry("sha256:a", 2, requests=self.sent[name] if name != lying else 0),
                Entry("sha256:b", 3, shadow=True, requests=self.sent[name]),
            ]
            if name not in silent:
                told.append(Evidence("flights", [Process(name, self.age_s[name], entries)]))
        known = dict(self.ledger.known)
        self.ledger.take(told)
        self.traffic = self.traffic.after(*came_between(known, self.ledger.known, 2))


def test_requests_of_this_stage_are_counted_by_each_transformers_own_time() -> None:
    looks = Looks("one", "two")
    for _ in range(5):
        looks.look()
    # Nothing is known of what came before the first look at them.
    assert looks.traffic.requests == 4 * 1200
    assert looks.traffic.requests_per_s == pytest.approx(200.0, rel=0.01)


def test_a_look_that_the_only_transformer_missed_changes_nothing() -> None:
    looks = Looks("one")
    for turn in range(30):
        looks.look(*(["one"] if turn % 6 == 3 else []))
    assert looks.traffic.requests_per_s == pytest.approx(200.0, rel=0.01)


def test_one_of_two_that_misses_a_look_in_six_makes_the_load_a_little_less_and_never_more() -> None:
    looks = Looks("one", "two")
    for turn in range(60):
        looks.look(*(["two"] if turn % 6 == 3 else []))
    assert 190.0 < looks.traffic.requests_per_s < 200.0


def test_counts_that_are_not_believed_are_no_time_either() -> None:
    looks = Looks("one")
    for turn in range(30):
        looks.look(lying="one" if turn % 6 == 3 else "")
    assert looks.traffic.requests_per_s == pytest.approx(200.0, rel=0.01)


def test_what_came_while_nobody_looked_is_of_no_known_load() -> None:
    looks = Looks("one")
    looks.look()
    looks.look(seconds=600.0)
    assert looks.traffic == Traffic()
    looks.look()
    assert looks.traffic.requests == 1200


def test_a_ledger_that_an_older_release_has_kept_tells_no_load_before_its_second_look() -> None:
    looks = Looks("one")
    looks.look()
    kept = msgspec.to_builtins(looks.ledger)
    del kept["known"]["one"]["age_s"]
    looks.ledger = msgspec.convert(kept, Ledger)
    looks.look()
    assert looks.traffic == Traffic()
    looks.look()
    assert looks.traffic.requests_per_s == pytest.approx(200.0, rel=0.01)
