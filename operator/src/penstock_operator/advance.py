"""One step of one version: from where it stands and what is seen to where it stands next.

    leaving? -> rolled back      ended? -> stays       base? -> live      was live? -> kept -> retired
    candidate? -> the next stage, if what this one waits for has come

Every version takes at most one step a look. A status is written before anything follows from it (the route, pods), so that an
operator that dies in between leaves behind what was meant, and the next one does it.

Invariant: no step towards more requests is taken unless every transformer acknowledges the route as it is.
"""

from dataclasses import replace

from penstock_operator.analysis import Move
from penstock_operator.baseline import MOST, WITHOUT, has_step, is_asked, missing, wanted_digest
from penstock_operator.clock import duration_s, read_moment, write_moment
from penstock_operator.cluster import INFERENCE_SERVICES, SCALERS
from penstock_operator.judgement import FULL_S, is_tried, judge, place_of, verdicts_of
from penstock_operator.live_reason import kept_reason, live_again, live_by_evidence, live_by_hand
from penstock_operator.model_version import PROMOTE, ROLLBACK, ModelVersion
from penstock_operator.patience import is_given_up, is_overdue, since_s
from penstock_operator.roles import is_leaving, is_verified, live_moment, stage_of
from penstock_operator.scaling import scaler_name
from penstock_operator.seen import InferenceService, Seen
from penstock_operator.stage import ENDED, JOINED, Stage
from penstock_operator.step import Situation, Step
from penstock_operator.verifying import step_by_job


def own_service(seen: Seen, version: ModelVersion) -> InferenceService | None:
    """The version's InferenceService, unless it is going or is somebody else's."""
    found = seen.services.get(version.predictor)
    return found if found is not None and not found.deleting and found.owner == version.uid else None


def pods_missing(version: ModelVersion, service: InferenceService, seen: Seen) -> str:
    """What a version that is warming lacks of the pods that it asks for at least, "" for nothing: what that many are to answer is
    too much for the first one, which is all that KServe waits for."""
    least = version.spec.runtime.replicas.min
    if service.pods >= least:
        return ""
    why_not = seen.why_not(SCALERS, scaler_name(service.name))
    unscaled = f"; its autoscaler is not taken: {why_not}" if why_not else ""
    return f"{service.pods} of {least} pods are ready{unscaled}"


def step_of(version: ModelVersion, here: Situation) -> Step:
    """The version's next step; the one it stands on, with a reason, if it has to wait."""
    stage, roles = stage_of(version), here.roles
    if is_leaving(version):
        return _leave(version, stage, here)
    if version in roles.superseded:
        return Step(Stage.RETIRED, 0, "Superseded", "a newer version was verified before this one was live")
    if version is roles.base:
        return _answer(version, here)
    if stage in ENDED:
        if version is roles.needed:
            return Step(Stage.WARMING, 0, "NeededForRollback", "the version after it is to be rolled back")
        return Step(stage, 0, version.status.reason, version.status.message)
    if stage is Stage.LIVE:
        keep_s = duration_s((roles.base or version).spec.rollout.keep_for_rollback, 3600.0)
        until = write_moment(here.seen.now + keep_s)
        return Step(Stage.KEPT, 0, "KeptForRollback", f"until {until}", kept_until=until)
    if stage is Stage.KEPT:
        return _keep(version, here)
    if version in roles.queued:
        return Step(Stage.PENDING, 0, "Queued", f"waits for {_name(roles.candidate)}")
    return _rise(version, stage, here)


def _leave(version: ModelVersion, stage: Stage, here: Situation) -> Step:
    if version is here.roles.base:
        waits = here.roles.candidate or here.roles.needed
        reason = "WaitingForReplacement" if waits else "NothingToRollBackTo"
        message = f"it answers until {waits.name} can" if waits else "no other version can answer; it goes on"
        return Step(stage, 100, reason, message)
    if version.deleted:
        return Step(stage, 0, "Deleting", "its predictor goes when no transformer routes to it")
    if stage in ENDED:
        return Step(stage, 0, version.status.reason, version.status.message)
    evidence = verdicts_of(version.status.evidence)
    return Step(Stage.ROLLED_BACK, 0, "RolledBack", version.annotations[ROLLBACK][:512], evidence=evidence)


def _answer(version: ModelVersion, here: Situation) -> Step:
    candidate = here.roles.candidate
    given = candidate.status.weight if candidate is not None and stage_of(candidate) in JOINED else 0
    service = own_service(here.seen, version)
    if service is None:
        return Step(Stage.LIVE, 100 - given, *_no_predictor(version, here, "PredictorMissing"))
    if stage_of(version) is Stage.KEPT:
        told, kept = live_again(version, _live_moment(here))
        return Step(Stage.LIVE, 100 - given, "RolledBackTo", told, evidence=kept)
    return Step(Stage.LIVE, 100 - given, "Live", kept_reason(version) if service.ready else service.message)


def _keep(version: ModelVersion, here: Situation) -> Step:
    until = version.status.kept_until
    # Only once its successor is settled: a roll-back needs somewhere to go.
    if here.seen.now >= read_moment(until, 0.0) and here.acknowledged.complete:
        return Step(Stage.RETIRED, 0, "Replaced", f"by {_name(here.roles.base) or 'the InferenceService own bundle'}")
    return Step(Stage.KEPT, 0, "KeptForRollback", f"until {until}", kept_until=until)


def _name(version: ModelVersion | None) -> str:
    return version.name if version is not None else ""


def _rise(version: ModelVersion, stage: Stage, here: Situation) -> Step:
    """The step of a version on its way: the candidate, or one that is verified beside it."""
    stay = Step(stage, version.status.weight, version.status.reason, version.status.message)
    if version.is_paused:
        return Step(stage, stay.weight, "Paused", "by its annotation")
    if stage in (Stage.PENDING, Stage.VERIFYING):
        return _verify(version, stage, here)
    if version is not here.roles.candidate:
        return Step(stage, 0, "Queued", f"waits for {_name(here.roles.candidate)}")
    service = own_service(here.seen, version)
    if stage is Stage.WARMING:
        return _warm(version, service, here)
    if service is None:
        return Step(Stage.WARMING, 0, *_no_predictor(version, here, "PredictorMissing"))
    ack = here.acknowledged
    lost = _lost_baseline(version, here)
    if lost is not None:
        return replace(stay, baseline=WITHOUT, without=lost)
    untried = stage is Stage.JOINING or (stage is Stage.PROMOTING and here.roles.base is None and not here.roles.users_own)
    if ack.refused and ack.written and untried and since_s(version, here) >= here.policy.rejected_s:
        return Step(Stage.FAILED, 0, "RouteRefused", ack.refused[0][:512])
    if not ack.complete:
        return Step(stage, stay.weight, *ack.describe())
    return _climb(version, stage, here)


def _verify(version: ModelVersion, stage: Stage, here: Situation) -> Step:
    service, seen = here.seen.service, here.seen
    if is_verified(version):
        if version is not here.roles.candidate:
            return Step(stage, 0, "Queued", f"waits for {_name(here.roles.candidate)}")
        return Step(Stage.WARMING, 0, "Verified")
    if service is not None and not service.routes and not service.made:
        return Step(Stage.PENDING, 0, "NoTransformer", f"InferenceService {service.name} has no transformer to route with")
    if service is None and seen.route is not None and not seen.route.made_service:
        return Step(Stage.PENDING, 0, "InferenceServiceMissing", f"InferenceService {seen.model} was deleted")
    if stage is Stage.PENDING:
        return Step(Stage.VERIFYING, 0, "Verifying")
    return step_by_job(version, here)


def _no_predictor(version: ModelVersion, here: Situation, otherwise: str) -> tuple[str, str]:
    """Reason and message of a version whose InferenceService is not there."""
    if why_not := here.seen.why_not(INFERENCE_SERVICES, version.predictor):
        return "PredictorRefused", why_not
    if otherwise == "PredictorMissing":
        return otherwise, "its InferenceService is gone and is being made anew"
    return otherwise, "its InferenceService is being made"


def _warm(version: ModelVersion, service: InferenceService | None, here: Situation) -> Step:
    other = here.seen.services.get(version.predictor)
    if service is None and other is not None and not other.deleting:
        return Step(Stage.WARMING, 0, "NameTaken", f"InferenceService {other.name} is there and is not this version's")
    if service is None:
        reason, message = _no_predictor(version, here, "StartingPredictor")
        if is_given_up(version, INFERENCE_SERVICES, version.predictor, here):
            return Step(Stage.FAILED, 0, "WarmingTimedOut", message)
        return Step(Stage.WARMING, 0, reason, message)
    missing = pods_missing(version, service, here.seen)
    if not service.ready or missing:
        message = missing if service.ready else service.message
        if is_overdue(version, here):
            return Step(Stage.FAILED, 0, "WarmingTimedOut", message or "its pods were not ready within maxDuration")
        return Step(Stage.WARMING, 0, "StartingPredictor", message)
    if here.roles.base is None and here.roles.users_own and not here.seen.held:
        message = f"no pod of InferenceService {here.seen.model} names the bundle that it holds"
        return Step(Stage.WARMING, 0, "OwnBundleUnknown", message)
    if here.roles.base is None and not here.roles.users_own:
        return Step(Stage.PROMOTING, 100, "FirstVersion", "there is no other bundle to share requests with")
    return Step(Stage.JOINING, 0, "Joining", "transformers fetch its bundle")


def _climb(version: ModelVersion, stage: Stage, here: Situation) -> Step:
    """Every transformer has acknowledged: the next of shadow, steps, live."""
    rollout, weight = version.spec.rollout, version.status.weight
    at_once = here.roles.urgent or rollout.strategy == "immediate" or (here.roles.base is None and not here.roles.users_own)
    if stage is Stage.PROMOTING and (at_once or not is_tried(version) or place_of(version) is None):
        return Step(Stage.LIVE, 100, "Live")
    if at_once:
        return Step(Stage.PROMOTING, 100, "Promoting")
    if stage is Stage.JOINING and rollout.shadow is not None:
        return Step(Stage.SHADOW, 0, "Shadowing")
    if rollout.strategy == "evidence":
        return _weigh(version, stage, here)
    if stage is Stage.JOINING:
        return Step(Stage.CANARY, 0, *_awaiting(version))
    allowed, following = version.promoted_to, rollout.step_after(weight)
    if allowed is None or following > allowed:
        return Step(stage, weight, *_awaiting(version))
    return _to(following, f"to {following} %")


def _weigh(version: ModelVersion, stage: Stage, here: Situation) -> Step:
    """The next step by evidence; the promote annotation lets it go on without. A stage that no step speaks of waits for that."""
    weight, allowed = version.status.weight, version.promoted_to
    following = version.spec.rollout.step_after(weight)
    waits = _await_baseline(version, here) if stage in (Stage.JOINING, Stage.SHADOW) else None
    if stage is Stage.JOINING or (waits is not None and waits.baseline is not None):
        return waits or _to(following, f"to {following} %")
    if allowed is not None and following <= allowed:
        if stage is Stage.PROMOTING:
            told, kept = live_by_hand(version, _live_moment(here))
            return Step(Stage.LIVE, 100, "Live", told, evidence=kept)
        return waits or _to(following, f"to {following} %, by its annotation")
    if place_of(version) is None:
        return Step(stage, weight, *_awaiting(version))
    judged = judge(version, here.roles.base, here.seen)
    if judged is None:
        return Step(stage, weight, version.status.reason, version.status.message)
    said = judged.sentence[:1024] or version.status.message
    if judged.move is Move.ROLL_BACK:
        return Step(Stage.ROLLED_BACK, 0, "WorseThanMargin", said, evidence=judged.verdicts)
    if judged.move is Move.WAIT:
        return Step(stage, weight, "Undecided", said, evidence=judged.evidence)
    if waits is not None:
        return replace(waits, evidence=judged.evidence)
    if stage is Stage.PROMOTING and judged.here_s < FULL_S:
        return Step(
            stage, weight, "Watched", f"all requests for {FULL_S:g} s at least before it is live", evidence=judged.evidence
        )
    if stage is Stage.PROMOTING:
        told, kept = live_by_evidence(said, judged.verdicts, _live_moment(here))
        return Step(Stage.LIVE, 100, "Live", told, evidence=kept)
    return replace(_to(following, said), evidence=judged.evidence)


def _await_baseline(version: ModelVersion, here: Situation) -> Step | None:
    """What the first step has to wait for: pods of the version before, and that they are in the route. None for nothing."""
    digest, allowed = wanted_digest(version, here.seen, here.roles), version.promoted_to
    # Promoted over all steps that have one it is compared with nothing in them.
    over = min((step for step in version.spec.rollout.steps if step > MOST), default=100)
    if not digest or (allowed is not None and allowed >= over):
        return None
    stay = Step(stage_of(version), version.status.weight, "StartingBaseline")
    lacks = missing(version, digest, here.seen)
    if lacks and is_overdue(version, here):
        return replace(stay, baseline=WITHOUT, without=("BaselineTimedOut", f"not ready within maxDuration: {lacks}"))
    if lacks:
        return replace(stay, message=lacks)
    return replace(stay, message="its pods come into the route", baseline=digest) if version.status.baseline != digest else None


def _lost_baseline(version: ModelVersion, here: Situation) -> tuple[str, str] | None:
    """Why a trial has to go on without the baseline that it has, None if it has not."""
    given = version.status.baseline
    if given in ("", WITHOUT) or not has_step(version):
        return None
    if not is_asked(version):
        return "NotAsked", "rollout.baseline is false"
    if wanted_digest(version, here.seen, here.roles) != given:
        return "VersionBeforeChanged", "another version answers by now than the one that its pods hold"
    ack = here.acknowledged
    # One that refuses only the arm, as an older transformer does, would stay behind for ever, and a new one not come up.
    if ack.refused and ack.written and since_s(version, here) >= here.policy.rejected_s:
        return "RouteRefused", ack.refused[0][:512]
    return None


def _to(weight: int, message: str) -> Step:
    return Step(Stage.PROMOTING if weight >= 100 else Stage.CANARY, weight, "Stepping", message)


def _awaiting(version: ModelVersion) -> tuple[str, str]:
    if PROMOTE in version.annotations and version.promoted_to is None:
        return "PromotionUnreadable", f"{PROMOTE}: expected a per cent of requests, got {version.annotations[PROMOTE][:40]!r}"
    return "AwaitingPromotion", f"annotation {PROMOTE} says how far it may go"


def _live_moment(here: Situation) -> str:
    return live_moment(here.seen.versions, here.seen.now)
