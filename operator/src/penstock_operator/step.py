"""A step of a version, and what it is decided on."""

from dataclasses import dataclass
from typing import Any

from penstock_operator.acknowledgement import Acknowledgement
from penstock_operator.policy import Policy
from penstock_operator.roles import Roles
from penstock_operator.seen import Seen
from penstock_operator.stage import Stage
from penstock_operator.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Step:
    """Where a version stands next, and why. `kept_until` only of one that is kept; `verdict` of one that was just verified;
    `again`: its verification ended without one. `evidence`: what the status is to remember of this look, if it was one.
    `baseline`: what its status is to say of that from now on, None for what it says; `without`: reason and message of doing
    without one."""

    stage: Stage
    weight: int
    reason: str
    message: str = ""
    kept_until: str = ""
    verdict: Verdict | None = None
    again: bool = False
    evidence: dict[str, Any] | None = None
    baseline: str | None = None
    without: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Situation:
    """What all versions of a model share in one look."""

    seen: Seen
    roles: Roles
    acknowledged: Acknowledgement
    policy: Policy
