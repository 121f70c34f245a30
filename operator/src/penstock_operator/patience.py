"""How long a version has been where it is, and whether that is too long: by its status alone, whoever looks at it."""

from dataclasses import replace

from penstock_operator.clock import duration_s, read_moment
from penstock_operator.cluster import Kind
from penstock_operator.model_version import ModelVersion
from penstock_operator.step import Situation


def since_s(version: ModelVersion, here: Situation) -> float:
    """Seconds since it came to its stage."""
    return here.seen.now - read_moment(version.status.stage_since, here.seen.now)


def is_overdue(version: ModelVersion, here: Situation) -> bool:
    """Whether it has been in its stage for `maxDuration`."""
    return since_s(version, here) >= duration_s(version.spec.rollout.max_duration, 7200.0)


def is_given_up(version: ModelVersion, kind: Kind, name: str, here: Situation) -> bool:
    """Whether what it waits for is refused for good: at a try as well that was made when it was overdue."""
    refusal = here.seen.refused.get((kind, name))
    if refusal is None or not refusal.is_lasting:
        return False
    return is_overdue(version, replace(here, seen=replace(here.seen, now=refusal.tried)))
