"""The status that a step writes: phase, conditions and times, unchanged wherever nothing changed.

Invariant: a look that finds nothing new writes nothing; a condition's time is that of its last change.
"""

import msgspec

from penstock_operator.advance import own_service, pods_missing
from penstock_operator.baseline import MOST, WITHOUT, baseline_name, has_step, in_route, is_asked, missing, wanted_digest
from penstock_operator.clock import write_moment
from penstock_operator.cluster import INFERENCE_SERVICES
from penstock_operator.model_version import Condition, ModelVersion, Status
from penstock_operator.roles import is_verified, live_moment, stage_of
from penstock_operator.stage import JOINED, UNFINISHED, Stage, phase_of
from penstock_operator.step import Situation, Step

_ROUTED = JOINED | {Stage.LIVE, Stage.KEPT}


def next_status(version: ModelVersion, step: Step, here: Situation) -> Status:
    """What the version's status should be after its step."""
    before, now = version.status, write_moment(here.seen.now)
    moved = step.stage != stage_of(version) or step.weight != before.weight or not before.stage_since
    # Patience with a route that is refused begins anew with what is new in it.
    moved = moved or step.baseline not in (None, before.baseline)
    paused = version.is_paused or (here.acknowledged.cut_off and step.stage in JOINED)
    goes_live = step.stage is Stage.LIVE and stage_of(version) is not Stage.LIVE
    attempt = before.attempt + (step.stage is Stage.WARMING and stage_of(version) is not Stage.WARMING)
    status = msgspec.structs.replace(
        before,
        phase=phase_of(step.stage, paused=paused),
        stage=step.stage.value,
        weight=step.weight,
        bundle=version.spec.bundle.digest[7:19],
        reason=step.reason,
        message=step.message,
        stage_since=now if moved else before.stage_since,
        live_since=live_moment(here.seen.versions, here.seen.now) if goes_live else before.live_since,
        kept_until=step.kept_until,
        attempt=attempt,
        verify_attempts=before.verify_attempts + step.again,
        observed_generation=version.generation,
        evidence=before.evidence if step.evidence is None else step.evidence,
        baseline=_baseline_after(version, step, here),
    )
    if step.verdict is not None and step.verdict.ok:
        status = msgspec.structs.replace(status, digest=version.spec.bundle.digest, verification=step.verdict.measured)
    complete = here.acknowledged.complete and step.stage in _ROUTED and here.seen.route is not None
    if complete and here.seen.route is not None:
        status = msgspec.structs.replace(status, route_revision=here.seen.route.revision)
    wanted = (
        _verified(version, step),
        _ready(version, step, here),
        _acknowledged(step, here),
        _live(step),
        *([_baseline(version, status, step, here)] if is_asked(version) else []),
        *_drifted(before, status),
    )
    return msgspec.structs.replace(status, conditions=tuple(_kept(one, before, version.generation, now) for one in wanted))


def _verified(version: ModelVersion, step: Step) -> tuple[str, bool | None, str, str]:
    if (step.verdict is not None and step.verdict.ok) or is_verified(version):
        return "Verified", True, "Verified", ""
    if step.verdict is not None or (step.stage is Stage.FAILED and step.reason.startswith("Verification")):
        return "Verified", False, step.reason, step.message
    old = version.status.condition("Verified")
    if old is not None and old.status == "False":
        return "Verified", False, old.reason, old.message
    return "Verified", None, "NotYet", ""


def _ready(version: ModelVersion, step: Step, here: Situation) -> tuple[str, bool | None, str, str]:
    service = own_service(here.seen, version)
    if step.stage not in _ROUTED | {Stage.WARMING}:
        return "Ready", False, "NotStarted" if step.stage in UNFINISHED else step.stage.value, ""
    if service is None:
        return "Ready", False, "PredictorMissing", ""
    missing = pods_missing(version, service, here.seen) if step.stage is Stage.WARMING else ""
    why_not = here.seen.why_not(INFERENCE_SERVICES, version.predictor)
    if service.ready and not missing:
        return "Ready", True, "Ready", _with_refusal("", why_not)
    return "Ready", False, "PredictorNotReady", _with_refusal(missing if service.ready else service.message[:512], why_not)


def _acknowledged(step: Step, here: Situation) -> tuple[str, bool | None, str, str]:
    if step.stage not in _ROUTED:
        return "Acknowledged", False, "NotRouted", ""
    ack = here.acknowledged
    reason, message = ack.describe()
    return "Acknowledged", ack.complete, reason, _with_refusal(message, ack.why_not) if ack.total else message


def _with_refusal(message: str, why_not: str) -> str:
    """What is said of an InferenceService that is there, but not as it is to be, since the API server does not take that."""
    refusal = f"its change is not taken: {why_not}" if why_not else ""
    return "; ".join(filter(None, (message, refusal)))


def _live(step: Step) -> tuple[str, bool | None, str, str]:
    live = step.stage is Stage.LIVE
    return "Live", live, "Live" if live else step.reason or step.stage.value, "" if live else step.message[:512]


def _baseline_after(version: ModelVersion, step: Step, here: Situation) -> str:
    """It is of one trial, and of its small steps: whoever stands elsewhere has none, nor who is promoted past its pods."""
    after = msgspec.structs.replace(version.status, stage=step.stage.value, weight=step.weight)
    if not has_step(msgspec.structs.replace(version, status=after)):
        return ""
    given = version.status.baseline if step.baseline is None else step.baseline
    first = step.stage is Stage.CANARY and stage_of(version) is not Stage.CANARY
    return "" if first and given != WITHOUT and not in_route(version, here.seen, here.roles) else given


def _baseline(version: ModelVersion, status: Status, step: Step, here: Situation) -> tuple[str, bool | None, str, str]:
    """What the version is compared with, in steps that have a baseline."""
    name = baseline_name(version)
    if step.without[0]:
        return "Baseline", False, *step.without
    if status.baseline == WITHOUT:
        old = version.status.condition("Baseline")
        return "Baseline", False, old.reason if old is not None else "Without", old.message if old is not None else ""
    if not has_step(msgspec.structs.replace(version, status=status)):
        if step.stage in UNFINISHED and step.stage in _ROUTED:
            return "Baseline", False, "LargeStep", f"steps over {MOST} % are compared with all pods of the version before"
        return "Baseline", False, "NotYet" if step.stage in UNFINISHED else "Over", ""
    if step.stage is Stage.CANARY and not status.baseline:
        return "Baseline", False, "SteppedWithout", "its first step was taken before there was one"
    digest = wanted_digest(version, here.seen, here.roles)
    if not digest:
        return "Baseline", False, "NothingBefore", "there is no version before it of which it could have pods of its own"
    lacks = missing(version, digest, here.seen)
    if lacks or not status.baseline:
        return "Baseline", False, "BaselineNotReady", f"{name}: {lacks}" if lacks else f"{name} comes into the route"
    return "Baseline", True, "Compared", f"{name} has the version before in fresh pods, and gets as many requests"


def _drifted(before: Status, status: Status) -> list[tuple[str, bool | None, str, str]]:
    """Whether its answers are far from those of training; nothing of a version that never was."""
    if told := status.evidence.get("drift"):
        return [("Drifted", True, "FarFromTraining", "; ".join(told)[:512])]
    return [("Drifted", False, "NearTraining", "")] if before.condition("Drifted") is not None else []


def _kept(wanted: tuple[str, bool | None, str, str], before: Status, generation: int, now: str) -> Condition:
    name, holds, reason, message = wanted
    status = "Unknown" if holds is None else str(holds)
    old = before.condition(name)
    since = old.last_transition_time if old is not None and old.status == status and old.last_transition_time else now
    return Condition(
        type=name,
        status=status,
        reason=reason or "Unknown",
        message=message,
        last_transition_time=since,
        observed_generation=generation,
    )
