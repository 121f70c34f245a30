"""The difference of two rates on the same units: does the shadow fail where the answer did not, more often than the other way?

Theorem. A pair counts 1 if only the candidate hit, -1 if only the baseline did, 0 otherwise; its conditional mean is the
difference of the two rates on that unit. The product of 1 + s (x - margin) is a test supermartingale for means up to the margin
(Waudby-Smith & Ramdas 2024, section 4). What hits both is 0 in every pair: nothing is left of an outage. It is the sequential
form of McNemar's test, with a margin. The state are three counts.
"""

from math import inf

from penstock_operator.statistics.betting import greatest_true, log_mean, log_product

STAKES: tuple[tuple[float, float], ...] = ((0.02, 0.05), (0.06, 0.10), (0.15, 0.15), (0.35, 0.25), (0.65, 0.25), (0.9, 0.20))
"""Shares of what could be lost on one pair, and the capital on each."""


def log_e_above(only_candidate: float, only_baseline: float, pairs: float, margin: float) -> float:
    """log e-value against "the candidate hits at most `margin` more often". Large if it hits more; `inf` for a margin of -1 or
    less, for no candidate hits still less often."""
    if margin <= -1.0:
        return inf if pairs > 0.0 else 0.0
    equal = pairs - only_candidate - only_baseline
    return log_mean(
        (weight, _log_bet(stake / (1.0 + margin), margin, only_candidate, only_baseline, equal)) for stake, weight in STAKES
    )


def log_e_below(only_candidate: float, only_baseline: float, pairs: float, margin: float) -> float:
    """log e-value against "the candidate hits at least `margin` more often". Large if it does not; `inf` for a margin of 1 or
    more, for no candidate hits still more often."""
    return log_e_above(only_baseline, only_candidate, pairs, -margin)


def lower_bound(only_candidate: float, only_baseline: float, pairs: float, log_threshold: float) -> float:
    """The difference of rates is above this with confidence 1 - exp(-log_threshold), at all looks together."""
    return greatest_true(lambda margin: log_e_above(only_candidate, only_baseline, pairs, margin) >= log_threshold, -1.0, 1.0)


def upper_bound(only_candidate: float, only_baseline: float, pairs: float, log_threshold: float) -> float:
    """The difference of rates is below this with confidence 1 - exp(-log_threshold), at all looks together."""
    return -lower_bound(only_baseline, only_candidate, pairs, log_threshold)


def _log_bet(bet: float, margin: float, up: float, down: float, equal: float) -> float:
    return log_product(((up, 1.0 + bet * (1.0 - margin)), (down, 1.0 - bet * (1.0 + margin)), (equal, 1.0 - bet * margin)))
