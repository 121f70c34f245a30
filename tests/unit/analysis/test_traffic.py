"""How much came at a time: as requests met it, however often it is looked at."""

import json

import msgspec
import numpy as np
import pytest

from penstock_operator.analysis.traffic import Traffic


def _seen(rates: list[float], look_s: float) -> Traffic:
    found = Traffic()
    for requests in np.random.default_rng(3).poisson(np.array(rates) * look_s).tolist():
        found = found.after(requests, look_s)
    return found


@pytest.mark.parametrize("rate", [0.05, 1.0, 200.0])
@pytest.mark.parametrize("look_s", [6.0, 30.0])
def test_a_steady_rate_is_what_it_is_however_long_the_looks_are(rate: float, look_s: float) -> None:
    assert _seen([rate] * 40_000, look_s).rate == pytest.approx(rate, rel=0.1)


def test_time_without_requests_is_no_part_of_it_and_bursts_are_most_of_it() -> None:
    assert _seen([200.0, 0.0, 0.0] * 1000, 6.0).rate == pytest.approx(200.0, rel=0.01)
    assert _seen([800.0] + [80.0] * 5, 6.0).rate == pytest.approx((800**2 + 5 * 80**2) / 1200, rel=0.05)


def test_what_came_since_is_the_difference_and_nothing_of_what_was_counted_by_another() -> None:
    before = _seen([100.0] * 9, 6.0)
    kept = msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(before))), Traffic)
    assert before.after(1800, 6.0).since(kept).rate == pytest.approx(300.0, rel=0.01)
    assert Traffic().since(before) == before.since(before) == Traffic()


@pytest.mark.parametrize(
    ("requests", "rate", "more"),
    [(6000, 150.0, True), (6000, 160.0, False), (6000, 0.0, False), (36, 0.8, False), (36, 0.3, True)],
)
def test_more_is_beyond_a_quarter_and_chance(requests: int, rate: float, more: bool) -> None:
    looks = 5
    came = Traffic()
    for _ in range(looks):
        came = came.after(requests // looks, 6.0)
    assert came.is_more_than(rate) is more
    assert not Traffic().is_more_than(rate)
