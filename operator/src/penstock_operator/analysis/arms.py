"""The counts that an analysis is made of: plain numbers, cumulative over one stage of a rollout.

Invariant: a unit is a route key (or a request without one) in its window. At a step chance gave the key to an arm once, for all
its windows: what follows from that is worked out in `callers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.evidence.callers import Callers
from penstock_operator.analysis.bins import FINE
from penstock_operator.analysis.outcomes import Stratum
from penstock_operator.analysis.traffic import NOTHING, Traffic

Histogram = Sequence[float]
"""Counts by bin, the same bins in both arms, the last one for values that were missing."""


def weight_of(total: float, apart: float) -> float:
    """What each of `total` counts for, if only so many of them are observations by themselves; 1 where that is not known."""
    return min(1.0, apart / total) if apart and total else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one version did.

    `units` and how many of them `failed`; `requests` and `rows` that they sent, of which `uncounted` requests are of no unit:
    their caller had left, or too many came to look at their key. Of each unit its first request, where that was answered:
    `latency`, by the number of its logarithmic bin, of which `per_doubling` make a factor of 2, and `calls` to the
    predictor that several of them shared (0: as many); `outputs`, histograms of one row of it by name. `training`: by name, live
    counts and those of the bundle's profile in the same bins. `callers`: who is behind the units, where that is told; `once`: the
    part of `failed` that is left if a caller who failed in several transformers did so once.
    """

    units: int = 0
    failed: int = 0
    requests: int = 0
    uncounted: int = 0
    rows: int = 0
    calls: int = 0
    latency: Mapping[int, int] = field(default_factory=dict)
    outputs: Mapping[str, Histogram] = field(default_factory=dict)
    training: Mapping[str, tuple[Histogram, Histogram]] = field(default_factory=dict)
    per_doubling: int = FINE
    callers: Callers | None = None
    once: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """A shadow beside what was answered, on the same `requests`, all the rest by `units`.

    About `uncounted` of the requests are of no unit. Of each unit its first pair, or the first that failed: `only_shadow_failed`,
    `only_answer_failed`, one of the two halves; `agreeing` and `differing`: labels were all equal, or not. `ratios`: by the
    logarithmic bin, `per_doubling` as of `Arm`, of the shadow's latency divided by the answer's, of whose copies several shared
    one of the shadow's `calls` (0: none did).
    """

    requests: int = 0
    uncounted: float = 0.0
    units: float = 0.0
    agreeing: float = 0.0
    differing: float = 0.0
    ratios: Mapping[int, float] = field(default_factory=dict)
    calls: int = 0
    only_shadow_failed: float = 0.0
    only_answer_failed: float = 0.0
    per_doubling: int = FINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Both arms of a stage. `pairs` of a shadow only. `loaded`: the baseline as it was when it had most of the requests, where it
    has few now, `load`: how many times as long as the candidate it took then (`loaded.py`), and `usual_requests_per_s`: how many
    came then, 0 if that is not known; `traffic`: what came in this stage. `cold`: latencies of these moments are not counted.
    `quality`: by outcomes, of every revision of the rollout's routes, not of this stage alone."""

    candidate: Arm
    baseline: Arm
    pairs: Pairs | None = None
    loaded: Arm | None = None
    load: float = 1.0
    usual_requests_per_s: float = 0.0
    traffic: Traffic = NOTHING
    cold: bool = False
    quality: tuple[Stratum, ...] = ()
