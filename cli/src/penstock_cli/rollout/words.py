"""A rollout told in words: one sentence on where it stands, why each version is where it is, and what can be done next."""

from penstock_cli.rollout.story import Story, is_on_its_way
from penstock_operator.clock import read_moment
from penstock_operator.model_version import Condition, ModelVersion
from penstock_operator.roles import stage_of
from penstock_operator.stage import Stage

_SAID = {"AwaitingPromotion": "waits to be promoted", "Paused": "paused"}
"""Reasons that say enough in words of their own; the condition Live has them whole."""
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def headline(story: Story) -> str:
    """Where the model stands, in one sentence."""
    candidate = story.candidate
    if candidate is None:
        newest = story.newest
        if newest.status.phase in ("Failed", "RolledBack") and newest is not story.live:
            verb = "failed" if newest.status.phase == "Failed" else "was rolled back"
            # By evidence it has a sentence of its own, with all numbers, in the table below.
            told = "" if newest.status.reason == "WorseThanMargin" else f" ({_reason(newest)})"
            return f"{newest.name} {verb}{told}; {_answers(story)}"
        return _answers(story)
    return f"{'Paused: ' if candidate.is_paused else ''}{_underway(story, candidate)}"


def _underway(story: Story, candidate: ModelVersion) -> str:
    name, weight, others = candidate.name, candidate.status.weight, _others(story)
    match stage_of(candidate):
        case Stage.PENDING:
            return f"{name} has not begun; {_answers(story)}"
        case Stage.VERIFYING:
            return f"{name} is being verified; {_answers(story)}"
        case Stage.WARMING:
            return f"{name} starts its predictor; {_answers(story)}"
        case Stage.JOINING:
            return f"the transformers fetch {name}; {_answers(story)}"
        case Stage.SHADOW:
            shadow = candidate.spec.rollout.shadow
            return f"{name} gets copies of {100 * (shadow.fraction if shadow else 0):g} % of requests; {_answers(story)}"
        case Stage.PROMOTING:
            return f"{name} takes over from {others}" if others else f"{name} takes all requests"
        case _ if not weight:
            return f"{name} waits for its first step; {_answers(story)}"
        case _:
            return f"{name} answers {weight} % of requests, {others or 'nobody'} the others"


def _others(story: Story) -> str:
    if story.live is not None:
        return story.live.name
    return "the InferenceService's own bundle" if story.own_weight is not None else ""


def _answers(story: Story) -> str:
    others = _others(story)
    return f"{others} answers all requests" if others else "nothing answers requests yet"


def _reason(version: ModelVersion) -> str:
    status = version.status
    if status.phase == "RolledBack" and status.message:
        return status.message
    return f"{status.reason}: {status.message}" if status.message else status.reason


def why(version: ModelVersion, now: float | None = None) -> str:
    """Why a version stands where it does, short enough for a line of a table; `now` for what is counted from it."""
    status = version.status
    if version.deleted:
        return "is being deleted"
    if not status.phase or (not status.reason and status.phase == "Pending"):
        return "the operator has not seen it yet"
    if status.phase == "Live" and status.reason == "Live":
        return status.message
    if status.reason == "KeptForRollback" and now is not None and status.kept_until:
        return f"kept for a roll-back, {span(read_moment(status.kept_until, now) - now)} more"
    if status.reason in _SAID:
        return _SAID[status.reason]
    return _reason(version)


def condition_said(condition: Condition) -> str:
    """What a condition says beside its name and status."""
    if condition.status == "True":
        return condition.message
    return f"{condition.reason}: {condition.message}" if condition.message else condition.reason


def plan_of(version: ModelVersion) -> str:
    """How a version gets its requests: strategy, shadow, steps, with the one it stands on in brackets."""
    rollout = version.spec.rollout
    if rollout.strategy == "immediate":
        return "immediate"
    weight = version.status.weight
    steps = " ".join(f"[{step}]" if step == weight else str(step) for step in rollout.steps)
    shadow = f"shadow {100 * rollout.shadow.fraction:g} %, " if rollout.shadow else ""
    allowed = version.promoted_to
    told = f", may go to {allowed} %" if allowed is not None and is_on_its_way(version) else ""
    return f"{rollout.strategy}, {shadow}steps {steps}{told}"


def hints(story: Story) -> list[str]:
    """What can be said to the operator next."""
    candidate = story.candidate
    if candidate is None:
        return []
    found = []
    if candidate.is_paused:
        found.append(f"penstock rollout resume {candidate.name}")
    elif candidate.status.reason == "AwaitingPromotion":
        found.append(
            f"penstock rollout promote {candidate.name}    (to {candidate.spec.rollout.step_after(candidate.status.weight)} %)"
        )
    return [*found, f"penstock rollout rollback {candidate.name}"]


def span(seconds: float) -> str:
    """A length of time by its two largest units: `2 d 3 h`, `5 min 10 s`."""
    left = int(max(seconds, 0))
    parts: list[str] = []
    for unit, size in _UNITS:
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def age(moment: str, now: float) -> str:
    """How long ago a moment was; empty for none."""
    return span(now - read_moment(moment, now)) if moment else ""
