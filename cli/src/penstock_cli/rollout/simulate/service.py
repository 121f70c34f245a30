"""How a version answers: chance of failure, distribution of latencies and of outputs; and what a fault changes of it.

Latencies are log-normal about the service's median, outputs fall into SCORE_BINS bins as a Beta(2, 5) does. A fault of the
outputs moves mass from the lower bins to the upper ones until the distance (total variation) is the one asked for.
"""

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from penstock.evidence.scales import (
    DIFFERENCE_BINS,
    LATENCY_HALVES,
    RATIO_HALVES,
    difference_bounds,
    half_bounds_s,
    latency_half,
    ratio_half_bounds,
)
from penstock_cli.rollout.simulate.counts import SCORE_BINS
from penstock_cli.rollout.simulate.faults import Fault


@dataclass(frozen=True)
class Service:
    """A version that is as it should be: share of failures, latency's median and spread (of its logarithm).

    `disagreement`: the share of requests that an honest new version gives another label; `drift`: the distance of its outputs.
    `deadline_s`: callers wait no longer, and a later answer is a failure (to the next lower edge of the bins that latencies are
    counted in). `utilisation`: how busy its pods are with all requests, of 1; each version has pods for all, and latencies grow
    with what it gets of them.
    """

    errors: float = 0.001
    median_s: float = 0.02
    spread: float = 0.5
    disagreement: float = 0.01
    drift: float = 0.02
    deadline_s: float = math.inf
    utilisation: float = 0.0

    @property
    def late_bin(self) -> int:
        """The first half of a bin of latencies that are beyond the deadline; LATENCY_HALVES for none."""
        return latency_half(self.deadline_s) if self.deadline_s < math.inf else LATENCY_HALVES


_BUSIEST = 0.95
"""A queue that has more than it can serve would never be empty again."""


def queueing(service: Service, load: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many times as long requests take at this part of all requests (1: all that come on average) as at all of them: the time
    in an M/M/1 queue, which is one by what is left of its server (Kleinrock, Queueing Systems I, 3.2)."""
    idle = 1 - np.minimum(service.utilisation * load, _BUSIEST)
    slower: NDArray[np.float64] = (1 - service.utilisation) / idle
    return slower


def latency_shares(service: Service, slowness: NDArray[np.float64], factor: float, slow_share: float) -> NDArray[np.float64]:
    """Shares of the halves of bins, float [slots, 320], where `slow_share` of requests are `factor` times as slow."""
    usual = (_edge_logs()[None, :] - math.log(service.median_s) - np.log(slowness)[:, None]) / service.spread
    cumulative = normal_shares(usual)
    if factor != 1:
        cumulative = (1 - slow_share) * cumulative + slow_share * normal_shares(usual - math.log(factor) / service.spread)
    cumulative[:, 0], cumulative[:, -1] = 0.0, 1.0
    found: NDArray[np.float64] = np.diff(cumulative, axis=1)
    return found


@lru_cache(maxsize=256)
def output_shares(distance: float) -> NDArray[np.float64]:
    """Shares of the output's bins for a version at this total variation distance from the usual, float [20]."""
    usual = _usual_outputs()
    moved = distance
    found = usual.copy()
    for place in range(SCORE_BINS):
        taken = min(moved, found[place])
        found[place] -= taken
        moved -= taken
    tail = usual[SCORE_BINS // 2 :]
    found[SCORE_BINS // 2 :] += (distance - moved) * tail / tail.sum()
    found /= found.sum()
    return found


@lru_cache(maxsize=256)
def ratio_shares(service: Service, fault: Fault) -> NDArray[np.float64]:
    """Shares of the 320 halves of bins of the shadow's latency by the answer's; their spreads are independent, so some are below
    one."""
    apart = service.spread * math.sqrt(2)
    usual = _ratio_logs() / apart
    slow = normal_shares(usual - math.log(fault.latency) / apart)
    cumulative = fault.slow_share * slow + (1 - fault.slow_share) * normal_shares(usual)
    cumulative[0], cumulative[-1] = 0.0, 1.0
    return np.diff(cumulative)


@lru_cache(maxsize=256)
def difference_shares(fault: Fault) -> NDArray[np.float64]:
    """Shares of the 42 bins of the scores' differences: a hundredth or so, of those that the fault moved a third or so."""
    moved = min(fault.scores + fault.labels, 1.0)
    usual, far = (normal_shares((_difference_logs() - math.log(size)) / 1.0) for size in (0.01, 0.3))
    cumulative = moved * far + (1 - moved) * usual
    cumulative[0], cumulative[-1] = 0.0, 1.0
    return np.diff(cumulative)


def positive_share(service: Service, fault: Fault, *, is_candidate: bool) -> float:
    """Chance of the second of two labels; swapped labels swap it."""
    usual = 0.3
    other = min(fault.labels + service.disagreement, 1.0) if is_candidate else 0.0
    return usual * (1 - other) + (1 - usual) * other


@cache
def _edge_logs() -> NDArray[np.float64]:
    return np.log([half_bounds_s(number)[0] for number in range(LATENCY_HALVES + 1)])


@cache
def _ratio_logs() -> NDArray[np.float64]:
    return np.log([ratio_half_bounds(number)[0] for number in range(RATIO_HALVES + 1)])


@cache
def _difference_logs() -> NDArray[np.float64]:
    return np.log([max(difference_bounds(number)[0], 1e-12) for number in range(DIFFERENCE_BINS + 1)])


@cache
def _usual_outputs() -> NDArray[np.float64]:
    # The Beta(2, 5)'s distribution function: two or more of six binomial trials succeed.
    x = np.linspace(0, 1, SCORE_BINS + 1)
    found: NDArray[np.float64] = np.diff(1 - (1 - x) ** 6 - 6 * x * (1 - x) ** 5)
    return found


def normal_quantiles(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the normal distribution function has these values."""
    places, values = _normal_table()
    found: NDArray[np.float64] = np.interp(shares, values, places)
    return found


def normal_shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The normal distribution function, read from a table: 1e-6 near, and all at once."""
    found: NDArray[np.float64] = np.interp(values, *_normal_table())
    return found


@cache
def _normal_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    places = np.linspace(-8, 8, 4001)
    return places, np.array([(1 + math.erf(place / math.sqrt(2))) / 2 for place in places.tolist()])
