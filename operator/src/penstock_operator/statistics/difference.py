"""The difference of two rates, one observed in each arm of a randomised assignment. Error rates are tested by it directly,
latencies and outputs through it.

Theorem (design-based betting). Unit i would hit with probability c_i on the candidate and b_i on the baseline, whatever came
before; it is given to the candidate with probability q, independently of both. Y is 1 if it hit. For any constant `centre` t

    X_i = (Y_i - t) / q             if it went to the candidate,        X_i = -(Y_i - t) / (1 - q)        if to the baseline

has the conditional mean c_i - b_i. So if c_i - b_i <= margin for every i, the product of 1 + s (X_i - margin), s > 0 and small
enough that no factor is negative, is a test supermartingale (Waudby-Smith & Ramdas 2024, section 4, for means of bounded
variables whose conditional mean is constrained), and with s < 0 one against c_i - b_i >= margin.

- Rates may change in any way over time: what hits both arms, an outage, cancels, because each unit's arm was drawn by itself.
  That is what Lindon & Malek (2022) get by conditioning on the errors and asking which arm they came from. Their test needs a
  margin that is a ratio; a margin that is a difference needs the units without errors too, and this is the same bet with both.
- X takes four values, so that the product of a fixed bet is a function of four cumulative counts. A mixture over bets (`betting`)
  is, too: its state are the counts.
- Bets: with odds w against the baseline's rate, s / q = (w - 1) / (1 - t + w t), the bet that is best for a Bernoulli whose odds
  are w times those of t; for t = 0, each error on the candidate multiplies the capital by w. In small samples of a small arm it
  grows as fast as the likelihood ratio of the two Poisson rates, the best there is.

q is taken as the share that the candidate had of the counts (conditioned on, as an assignment by sticky keys makes it): the plain
difference of means instead of one weighted by design, which varies less. tests/unit/statistics holds the error of both kinds to
alpha by simulation, outages and keys that stick included.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import inf, log
from typing import NamedTuple

from penstock_operator.statistics.betting import greatest_true, log_sum

Bets = tuple[tuple[float, float], ...]

ABOVE: Bets = (
    (1.05, 0.02), (1.12, 0.02), (1.3, 0.05), (1.7, 0.11), (2.7, 0.34), (4.2, 0.32), (8.0, 0.10), (20.0, 0.04),
)  # fmt: skip
"""Odds ratios of the bets that the candidate hits more, and the capital on each; most where a fault is worth a roll-back."""
BELOW: Bets = (
    (0.95, 0.03), (0.88, 0.07), (0.75, 0.15), (0.55, 0.30), (0.3, 0.25), (0.15, 0.15), (0.05, 0.05),
)  # fmt: skip
"""The same of the bets that it hits less."""
_LARGEST = 0.95
"""No bet stakes more than this share of what would lose everything in one observation."""


class Pair(NamedTuple):
    """Cumulative counts of both arms: units that were given to each, and those of them that hit. Fractions are allowed, where
    counts were deflated for units that came in clusters."""

    candidate_units: float
    candidate_hits: float
    baseline_units: float
    baseline_hits: float

    @property
    def empty(self) -> bool:
        """Whether an arm has nothing, so that nothing can be said."""
        return self.candidate_units <= 0.0 or self.baseline_units <= 0.0

    @property
    def share(self) -> float:
        """The candidate's share of the units."""
        return self.candidate_units / (self.candidate_units + self.baseline_units)

    @property
    def candidate_rate(self) -> float:
        return self.candidate_hits / self.candidate_units if self.candidate_units else 0.0

    @property
    def baseline_rate(self) -> float:
        return self.baseline_hits / self.baseline_units if self.baseline_units else 0.0

    @property
    def difference(self) -> float:
        """The candidate's rate less the baseline's."""
        return self.candidate_rate - self.baseline_rate


def log_e_above(pair: Pair, margin: float, centre: float = 0.0) -> float:
    """log e-value against "the candidate's rate is at most `margin` above the baseline's at all times": large if it is worse."""
    return _log_e(pair, margin, centre, ABOVE)


def log_e_below(pair: Pair, margin: float, centre: float = 0.0) -> float:
    """log e-value against "it is at least `margin` above, at all times": large if the candidate is no worse than that; `inf` for
    a margin of 1 or more, for no rate is further above another."""
    if margin >= 1.0:
        return 0.0 if pair.empty else inf
    return _log_e(pair, margin, centre, BELOW)


def lower_bound(pair: Pair, log_threshold: float, centre: float = 0.0) -> float:
    """The difference is above this with confidence 1 - exp(-log_threshold), at all looks together."""
    return greatest_true(lambda margin: log_e_above(pair, margin, centre) >= log_threshold, -1.0, 1.0)


def upper_bound(pair: Pair, log_threshold: float, centre: float = 0.0) -> float:
    """The difference is below this with confidence 1 - exp(-log_threshold), at all looks together."""
    return -greatest_true(lambda margin: _log_e(pair, -margin, centre, BELOW) >= log_threshold, -1.0, 1.0)


def log_e_above_all(pairs: Sequence[Pair], margin: float, centre: float = 0.0) -> float:
    """As `log_e_above`, over several stretches of one experiment in which the arms' shares differ; counts are never added over
    them. One bet goes through all: its factors have a conditional mean of at most 1 wherever each was drawn, so that their
    product is a test supermartingale and the price of the mixture is paid once."""
    return _log_e_all(pairs, margin, centre, ABOVE)


def log_e_below_all(pairs: Sequence[Pair], margin: float, centre: float = 0.0) -> float:
    """As `log_e_below`, likewise."""
    if margin >= 1.0:
        return 0.0 if all(pair.empty for pair in pairs) else inf
    return _log_e_all(pairs, margin, centre, BELOW)


def lower_bound_all(pairs: Sequence[Pair], log_threshold: float, centre: float = 0.0) -> float:
    """As `lower_bound`, likewise."""
    return greatest_true(lambda margin: log_e_above_all(pairs, margin, centre) >= log_threshold, -1.0, 1.0)


def upper_bound_all(pairs: Sequence[Pair], log_threshold: float, centre: float = 0.0) -> float:
    """As `upper_bound`, likewise."""
    return -greatest_true(lambda margin: _log_e_all(pairs, -margin, centre, BELOW) >= log_threshold, -1.0, 1.0)


def log_factors(share: float, margin: float, centre: float, odds: float) -> tuple[float, float, float, float]:
    """What a bet multiplies its capital by: candidate hit, candidate miss, baseline hit, baseline miss; none is 0 or less for
    margins between -1 and 1."""
    bet = (odds - 1.0) / (1.0 - centre + odds * centre)
    ratio = share / (1.0 - share)
    per_unit = (
        (1.0 - centre) - share * margin,
        -centre - share * margin,
        -ratio * (1.0 - centre) - share * margin,
        ratio * centre - share * margin,
    )
    worst = -min(slope * bet for slope in per_unit)
    if worst > _LARGEST:
        bet *= _LARGEST / worst
    first, second, third, fourth = (1.0 + bet * slope for slope in per_unit)
    return first, second, third, fourth


def _log_e(pair: Pair, margin: float, centre: float, bets: Bets) -> float:
    return 0.0 if pair.empty else log_sum(_capitals(pair, margin, centre, bets))


def _log_e_all(pairs: Sequence[Pair], margin: float, centre: float, bets: Bets) -> float:
    told = [pair for pair in pairs if not pair.empty]
    if not told:
        return 0.0
    # Each stretch's capital of a bet has the bet's weight in it: it counts once.
    extra = len(told) - 1
    summed = zip(*(_capitals(pair, margin, centre, bets) for pair in told), strict=True)
    return log_sum([sum(logs) - extra * log(weight) for logs, (_, weight) in zip(summed, bets, strict=True)])


def _capitals(pair: Pair, margin: float, centre: float, bets: Bets) -> list[float]:
    """The logs of what each bet has made of its part of the capital."""
    hits, other_hits = pair.candidate_hits, pair.baseline_hits
    misses, other_misses = pair.candidate_units - hits, pair.baseline_units - other_hits
    return [
        log_weight + hits * hit + misses * miss + other_hits * other_hit + other_misses * other_miss
        for log_weight, hit, miss, other_hit, other_miss in bet_logs(pair.share, margin, centre, bets)
    ]


@lru_cache(maxsize=64)
def bet_logs(share: float, margin: float, centre: float, bets: Bets) -> tuple[tuple[float, float, float, float, float], ...]:
    """Of each bet the logs of its weight and of its four factors; kept, because one look asks for the same ones at many edges."""
    found = []
    for odds, weight in bets:
        hit, miss, other_hit, other_miss = log_factors(share, margin, centre, odds)
        found.append((log(weight), log(hit), log(miss), log(other_hit), log(other_miss)))
    return tuple(found)
