"""Whether a version has come to the phase that somebody waits for: yes, not yet, or never."""

from enum import IntEnum

from penstock_cli.rollout.story import is_ended
from penstock_operator.model_version import ModelVersion
from penstock_operator.roles import stage_of
from penstock_operator.stage import Stage

PHASES = (
    "Pending", "Verifying", "Warming", "Shadow", "Canary", "Promoting", "Live", "Paused", "Retired", "Failed", "RolledBack",
)  # fmt: skip
_WAY = (
    Stage.PENDING, Stage.VERIFYING, Stage.WARMING, Stage.JOINING, Stage.SHADOW, Stage.CANARY, Stage.PROMOTING, Stage.LIVE,
)  # fmt: skip


class Outcome(IntEnum):
    """How a wait ended: the command's exit status."""

    REACHED = 0
    NEVER = 3
    TIME_OVER = 4


def outcome_of(version: ModelVersion | None, goal: str) -> Outcome | None:
    """REACHED in the phase `goal`, or beyond it on the way to Live; NEVER once it has ended otherwise, or is gone; None: not yet.

    A status that does not know the newest spec yet says nothing.
    """
    if version is None:
        return Outcome.NEVER
    if version.status.observed_generation < version.generation:
        return None
    stage = stage_of(version)
    if version.status.phase == goal:
        return Outcome.REACHED
    if goal not in Stage.__members__.values() or Stage(goal) not in _WAY:
        return Outcome.NEVER if is_ended(version) or (goal == "Paused" and stage in (Stage.LIVE, Stage.KEPT)) else None
    if stage not in _WAY:
        return Outcome.NEVER
    return Outcome.REACHED if _WAY.index(stage) >= _WAY.index(Stage(goal)) else None
