"""The ranges in which an API server takes a rollout: a simulation asks none, and refuses by itself what it would.

file and options --reading.py--> Rollout --check_rollout--> Plan

The schema is charts/penstock/templates/modelversion-crd.yaml, which is not installed with this program; a test holds the two
together.
"""

import math
from dataclasses import dataclass

from penstock.errors import InvalidInput
from penstock.features.durations import read_duration
from penstock_operator.model_version import Rollout

_MOST_STEPS = 20


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, without end where it is None; `above`: `low` itself is none of them."""

    low: float
    high: float | None = None
    above: bool = False

    def __contains__(self, value: float) -> bool:
        is_high_enough = value > self.low if self.above else value >= self.low
        # No number of JSON is infinite.
        return math.isfinite(value) and is_high_enough and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        least = f"{'more than' if self.above else 'at least'} {self.low:g}"
        return least if self.high is None else f"{least} and at most {self.high:g}"


RANGES = {
    "alpha": Range(0, 0.5, above=True),
    "margins.errorRate": Range(0, 1),
    "margins.latencyP99": Range(1),
    "margins.outputDrift": Range(0),
    "margins.disagreement": Range(0, 1),
    "margins.quality": Range(0, 1),
    "shadow.fraction": Range(0, 1, above=True),
    "shadow.minRequests": Range(1),
}
"""By the field's path in `spec.rollout`."""


def check_rollout(rollout: Rollout) -> None:
    """Raises InvalidInput naming the field that an API server would refuse."""
    for name, value in _numbers(rollout).items():
        if value not in RANGES[name]:
            raise InvalidInput(f"expected a number of {RANGES[name]}, got {value}", field=name)
    steps = rollout.steps
    if not 1 <= len(steps) <= _MOST_STEPS or sorted(set(steps)) != list(steps) or steps[0] < 1 or steps[-1] != 100:
        said = ", ".join(map(str, steps)) or "none"
        expected = f"expected 1 to {_MOST_STEPS} rising per cents that end with 100, such as 10, 50, 100"
        raise InvalidInput(f"{expected}, got {said}", field="steps")
    read_duration(rollout.max_duration, "maxDuration")


def _numbers(rollout: Rollout) -> dict[str, float]:
    margins, shadow = rollout.margins, rollout.shadow
    found = {
        "alpha": rollout.alpha,
        "margins.errorRate": margins.error_rate,
        "margins.latencyP99": margins.latency_p99,
        "margins.outputDrift": margins.output_drift,
        "margins.disagreement": margins.disagreement,
        "margins.quality": margins.quality,
    }
    if shadow is not None:
        found |= {"shadow.fraction": shadow.fraction, "shadow.minRequests": shadow.min_requests}
    return found
