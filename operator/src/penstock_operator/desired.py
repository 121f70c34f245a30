"""The decision: what is seen of a model -> the calls that bring it closer to what its ModelVersions ask for.

    Seen --roles, wanted route, acknowledgement--> Situation --steps--> statuses
                                                             \\------> objects, route, clean-up, evictions

Pure and level-triggered: nothing is remembered but what the API server holds, and what it did not take. Order of the calls:
finalizers, objects that have to be there, the route, statuses, then what may go; at last what was refused before. The route and
the objects follow from the statuses that were *seen*, so a status is always written before what it leads to.

Invariants: a bundle is routed to only after its verification; nothing is removed that a transformer may still send to.
"""

from dataclasses import replace
from typing import Any

from penstock_operator.acknowledgement import Acknowledgement, is_unused, is_written
from penstock_operator.advance import own_service, step_of
from penstock_operator.baseline import BUNDLE, annotations_of, baseline_name, is_asked, is_current, wanted_digest
from penstock_operator.clock import duration_s, read_moment
from penstock_operator.cluster import CONFIG_MAPS, INFERENCE_SERVICES, JOBS, MODEL_VERSIONS, PODS, SCALERS, Kind
from penstock_operator.covering import covers
from penstock_operator.inference_service import baseline_service, caller_service, predictor_service
from penstock_operator.judgement import due_in_s, is_due, is_tried, look_s
from penstock_operator.model_version import API_VERSION, KIND, ROUTE_FINALIZER, ModelVersion, Status
from penstock_operator.narrative import drift_event, eviction_event, version_event
from penstock_operator.plan import Operation, Plan, Verb
from penstock_operator.policy import Policy
from penstock_operator.refusals import put_off, still_asked_for
from penstock_operator.refusals import wait_s as refused_s
from penstock_operator.roles import find_roles, stage_of
from penstock_operator.route import own_address, predictor_address, route_document, route_name, wanted_entries
from penstock_operator.scaling import is_left, needless_scalers, wanted_scalers
from penstock_operator.seen import Entry, Route, Seen
from penstock_operator.stage import ENDED, JOINED, Stage
from penstock_operator.status import next_status
from penstock_operator.step import Situation, Step
from penstock_operator.verification_job import verification_job
from penstock_operator.verifying import wait_s


def decide(seen: Seen, policy: Policy) -> Plan:
    """The plan for one model."""
    users_own = seen.service is not None and seen.service.routes and not seen.service.made
    seen = replace(seen, held=_held(seen) if users_own else ())
    roles = find_roles(seen.versions, users_own=users_own)
    entries = wanted_entries(seen, roles)
    here = Situation(seen, roles, Acknowledgement.of(seen, entries, policy), policy)
    objects = [*_callers(here, policy), *_wanted_objects(here, policy), *_scalers(seen, policy)]
    if seen.refused:
        seen = still_asked_for(seen, objects)
        here = replace(here, seen=seen, acknowledged=Acknowledgement.of(seen, entries, policy))
    statuses: list[Operation] = []
    moved = False
    for version in seen.versions:
        step = _hold_still(version, step_of(version, here), here)
        status = next_status(version, step, here)
        moved = moved or status.stage != version.status.stage or status.weight != version.status.weight
        statuses += _status(version, status, seen.now)
    operations = [
        *_finalizers(seen),
        *objects,
        *_route(here, entries),
        *statuses,
        *_clean_up(here, policy, entries),
        *_evictions(here),
    ]
    ask = seen.evidence is None and any(is_due(version, seen.now) for version in seen.versions)
    return Plan(put_off(operations, seen), 0.0 if moved else _look_again(here, policy, entries), ask)


def _hold_still(version: ModelVersion, step: Step, here: Situation) -> Step:
    """While over a third of the transformers are silent nothing moves but what gives requests back."""
    stage = stage_of(version)
    if here.acknowledged.cut_off and stage in JOINED and step.stage in (stage, *JOINED, Stage.LIVE):
        return replace(
            step, stage=stage, weight=version.status.weight, reason="TransformersSilent", message=here.acknowledged.describe()[1]
        )
    return step


def _held(seen: Seen) -> tuple[tuple[str, int], ...]:
    """The digests of the user's own bundle: what its pods say, or else what the route, or else the transformers had of it."""
    if seen.held:
        return seen.held
    addresses = (own_address(seen), predictor_address(seen.model, seen.namespace))
    routed = tuple(
        (entry.digest, 1) for entry in (seen.route.entries if seen.route else None) or () if entry.predictor in addresses
    )
    if routed:
        return routed
    if seen.route is None:
        applied = {pod.answer.applied for pod in seen.pods if pod.answer is not None and pod.ready}
        if len(applied) == 1 and len(only := applied.pop()) == 1:
            return ((only[0], 1),)
    return ()


def _finalizers(seen: Seen) -> list[Operation]:
    return [
        Operation(
            Verb.FINALIZERS, MODEL_VERSIONS, version.namespace, version.name,
            {"finalizers": [*version.finalizers, ROUTE_FINALIZER]}, version.uid, version.resource_version,
        )
        for version in seen.versions
        if not version.deleted and ROUTE_FINALIZER not in version.finalizers
    ]  # fmt: skip


def _ours(seen: Seen) -> bool:
    """Whether the operator made, or has to make, what callers reach."""
    if seen.service is not None:
        return seen.service.made
    return seen.route is None or seen.route.made_service


def _callers(here: Situation, policy: Policy) -> list[Operation]:
    """The transformer of a model whose InferenceService nobody has applied: there as long as a version that stays is."""
    seen = here.seen
    wanted = any(not version.deleted for version in seen.versions)
    if not _ours(seen) or not wanted or (seen.service is not None and seen.service.deleting):
        return []
    return _apply(INFERENCE_SERVICES, caller_service(seen, policy), seen.service.document if seen.service else None)


def _wanted_objects(here: Situation, policy: Policy) -> list[Operation]:
    """Jobs of versions that are being verified, InferenceServices of those that answer or are about to."""
    seen, found = here.seen, []
    for version in seen.versions:
        stage = stage_of(version)
        leaving = version.deleted or version in here.roles.superseded
        if stage is Stage.VERIFYING and not leaving:
            job = seen.jobs.get(version.job)
            if job is None:
                found += _apply(JOBS, verification_job(version, policy), None)
        if stage in (Stage.WARMING, *JOINED, Stage.LIVE, Stage.KEPT) and (not leaving or version is here.roles.base):
            there = seen.services.get(version.predictor)
            if there is None or (there.owner == version.uid and not there.deleting):
                document = predictor_service(version, policy, seen)
                found += _apply(INFERENCE_SERVICES, document, there.document if there else None)
    return found + _wanted_baseline(here, policy)


def _wanted_baseline(here: Situation, policy: Policy) -> list[Operation]:
    """The pods that the candidate is compared with: made once, and left as they are for its trial, whatever becomes meanwhile of
    what they were made after. What an earlier attempt left is used again; what holds another bundle has to go before."""
    seen, version = here.seen, here.roles.candidate
    digest = wanted_digest(version, seen, here.roles) if version is not None else ""
    if version is None or not digest:
        return []
    there = seen.services.get(baseline_name(version))
    ours = there is not None and there.owner == version.uid and not there.deleting
    if there is not None and (not ours or annotations_of(there).get(BUNDLE) != digest or is_current(version, digest, there)):
        return []
    return _apply(INFERENCE_SERVICES, baseline_service(version, here.roles.base, digest, seen, policy), None)


def _scalers(seen: Seen, policy: Policy) -> list[Operation]:
    there = {name: one.document for name, one in seen.scalers.items()}
    wanted = wanted_scalers(seen, policy)
    return [call for one in wanted for call in _apply(SCALERS, one, there.get(one["metadata"]["name"]))]


def _apply(kind: Kind, document: dict[str, Any], there: Any) -> list[Operation]:
    if there is not None and covers(there, document):
        return []
    metadata = document["metadata"]
    return [Operation(Verb.APPLY, kind, metadata["namespace"], metadata["name"], document)]


def _route(here: Situation, entries: tuple[Entry, ...]) -> list[Operation]:
    """Writes the route if it is not as the statuses say."""
    seen, route = here.seen, here.seen.route
    if route is not None and is_written(seen, entries):
        return _noted(here, route, entries)
    revisions = [pod.answer.revision for pod in seen.pods if pod.answer is not None]
    # The user's own bundle alone needs no route, unless transformers still go by one that was deleted by hand.
    needed = route is not None or any(revisions) or any(entry.model for entry in entries)
    if not entries or not needed or (route is not None and route.deleting):
        return []
    noted = route.acknowledged if route is not None else 0
    document = route_document(seen, _next_revision(seen), entries, made_service=_ours(seen), acknowledged=noted)
    verb = Verb.CREATE if route is None else Verb.APPLY
    version = route.resource_version if route is not None else ""
    return [Operation(verb, CONFIG_MAPS, seen.namespace, route_name(seen.model), document, resource_version=version)]


def _next_revision(seen: Seen) -> int:
    """Above all that anybody has seen: a pod that had applied another route under it would pass for one that applies this.

    Where a ConfigMap was deleted or broken by hand, a pod that does not answer, or that applies right now what was there before,
    may know of more than is told: then it is above what time can have brought, in milliseconds since 1970."""
    answers, route = [pod.answer for pod in seen.pods if pod.running], seen.route
    told = [answer.revision for answer in answers if answer is not None]
    told += [version.status.route_revision for version in seen.versions]
    last = max([*told, route.revision if route is not None else 0], default=0)
    is_first = route is None and last == 0 and None not in answers
    is_known = route is not None and route.entries is not None
    return last + 1 if is_first or is_known else max(last + 1, int(seen.now * 1000))


def _noted(here: Situation, route: Route, entries: tuple[Entry, ...]) -> list[Operation]:
    """Says in the ConfigMap that most transformers apply it, once they do."""
    if route.acknowledged == route.revision or not here.acknowledged.by_most:
        return []
    seen = here.seen
    made = route.made_service
    document = route_document(seen, route.revision, entries, made_service=made, acknowledged=route.revision)
    name, version = route_name(seen.model), route.resource_version
    return [Operation(Verb.APPLY, CONFIG_MAPS, seen.namespace, name, document, resource_version=version)]


def _status(version: ModelVersion, status: Status, now: float) -> list[Operation]:
    if status == version.status:
        return []
    metadata = {"name": version.name, "namespace": version.namespace, "resourceVersion": version.resource_version}
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}
    write = Operation(
        Verb.STATUS, MODEL_VERSIONS, version.namespace, version.name, document, version.uid, version.resource_version, status
    )
    # Before the status: an operator that dies in between tells the same events again, under the same names.
    events = (version_event(version, status, now), drift_event(version, status, now))
    return [*(event for event in events if event is not None), write]


def _clean_up(here: Situation, policy: Policy, entries: tuple[Entry, ...]) -> list[Operation]:
    """What nothing needs any more: pods of versions that are out, old jobs; at the end finalizers, the transformer, the route."""
    seen = here.seen
    found: list[Operation] = []
    abandoned = not entries and (_ours(seen) or seen.service is None)
    for version in seen.versions:
        found += _clean_up_version(version, here, policy, abandoned=abandoned)
    found += _orphans(seen, policy)
    found += [_delete(SCALERS, seen.namespace, one.name, one.uid, one.resource_version) for one in needless_scalers(seen, policy)]
    service, route = seen.service, seen.route
    staying = any(not version.deleted for version in seen.versions)
    anew = not entries and route is None and service is not None and is_left(service, policy.transformer_in_flight)
    if (staying and not anew) or (service is not None and not service.made):
        return found
    if service is not None and not service.deleting:
        found.append(_delete(INFERENCE_SERVICES, seen.namespace, service.name, service.uid, service.resource_version))
    if not entries and service is None and route is not None and not route.deleting:
        found.append(_delete(CONFIG_MAPS, seen.namespace, route_name(seen.model), route.uid, route.resource_version))
    return found


def _clean_up_version(version: ModelVersion, here: Situation, policy: Policy, *, abandoned: bool) -> list[Operation]:
    seen, stage = here.seen, stage_of(version)
    found: list[Operation] = []
    kept = _clean_up_baseline(version, here, policy, found, abandoned=abandoned)
    job = seen.jobs.get(version.job)
    stale = job is not None and not job.deleting and job.owner == version.uid
    if stale and job is not None and stage is Stage.VERIFYING and job.attempt != version.status.verify_attempts:
        found.append(_delete(JOBS, version.namespace, job.name, job.uid, job.resource_version))
    service = own_service(seen, version)
    out = version.deleted or stage in ENDED or stage in (Stage.PENDING, Stage.VERIFYING)
    anew = stage is Stage.WARMING and service is not None and is_left(service, policy.predictor_in_flight)
    if version is here.roles.base or not (out or anew):
        return found
    address = predictor_address(version.predictor, version.namespace)
    unused = (abandoned and bool(version.deleted)) or is_unused(seen, address, version.spec.bundle.digest, policy)
    if service is not None and unused:
        found.append(_delete(INFERENCE_SERVICES, version.namespace, service.name, service.uid, service.resource_version))
    if version.deleted and unused and service is None and not kept and ROUTE_FINALIZER in version.finalizers:
        rest = [one for one in version.finalizers if one != ROUTE_FINALIZER]
        found.append(
            Operation(
                Verb.FINALIZERS, MODEL_VERSIONS, version.namespace, version.name,
                {"finalizers": rest}, version.uid, version.resource_version,
            )
        )  # fmt: skip
    return found


def _clean_up_baseline(
    version: ModelVersion, here: Situation, policy: Policy, found: list[Operation], *, abandoned: bool
) -> bool:
    """Adds the call that takes a baseline away which nobody compares with any more; whether there is one still."""
    seen = here.seen
    service = seen.services.get(baseline_name(version))
    if service is None or service.owner != version.uid:
        return False
    digest, wanted = annotations_of(service).get(BUNDLE, ""), wanted_digest(version, seen, here.roles)
    unused = (abandoned and bool(version.deleted)) or is_unused(
        seen, predictor_address(service.name, version.namespace), digest, policy
    )
    if not service.deleting and digest != wanted and unused:
        found.append(_delete(INFERENCE_SERVICES, version.namespace, service.name, service.uid, service.resource_version))
    return True


def _orphans(seen: Seen, policy: Policy) -> list[Operation]:
    """InferenceServices of versions that are gone for good (their finalizer was taken by force): once nothing is sent to them."""
    uids = {version.uid for version in seen.versions}
    found = []
    for service in seen.services.values():
        if service.owner and service.owner not in uids and not service.deleting:
            digest = next((e.digest for e in (seen.route.entries or () if seen.route else ()) if e.model == service.name), "")
            if is_unused(seen, predictor_address(service.name, seen.namespace), digest, policy):
                found.append(_delete(INFERENCE_SERVICES, seen.namespace, service.name, service.uid, service.resource_version))
    return found


def _delete(kind: Kind, namespace: str, name: str, uid: str, resource_version: str) -> Operation:
    return Operation(Verb.DELETE, kind, namespace, name, uid=uid, resource_version=resource_version)


def _evictions(here: Situation) -> list[Operation]:
    """One silent pod at a time, and only while all others do their work."""
    ack = here.acknowledged
    going = [pod for pod in here.seen.pods if pod.deleting or not pod.ready]
    if not ack.silent or ack.cut_off or going:
        return []
    pod = min(ack.silent, key=lambda pod: pod.name)
    namespace = here.seen.namespace
    return [eviction_event(namespace, pod, here.seen.now), Operation(Verb.EVICT, PODS, namespace, pod.name, uid=pod.uid)]


def _look_again(here: Situation, policy: Policy, entries: tuple[Entry, ...]) -> float:
    """Seconds until something may have changed of which no event tells: answers of pods, and time itself."""
    seen, ack = here.seen, here.acknowledged
    waits = [policy.idle_s, refused_s(seen)]
    for version in seen.versions:
        stage = stage_of(version)
        if stage is Stage.KEPT:
            waits.append(max(read_moment(version.status.kept_until, seen.now) - seen.now, policy.poll_s))
        if stage in (Stage.VERIFYING, Stage.WARMING):
            limit = duration_s(version.spec.rollout.max_duration, 7200.0)
            waits.append(max(read_moment(version.status.stage_since, seen.now) + limit - seen.now, 10 * policy.poll_s))
        job = seen.jobs.get(version.job)
        if stage is Stage.VERIFYING and job is not None and (rest_s := wait_s(job, policy, seen.now)):
            waits.append(rest_s)
        if is_tried(version) and not version.is_paused:
            every_s = look_s(version, seen.now)
            waits.append(every_s if seen.evidence is not None else min(max(due_in_s(version, seen.now), policy.poll_s), every_s))
        if is_asked(version) and not version.status.baseline and stage in (Stage.JOINING, Stage.SHADOW):
            waits.append(10 * policy.poll_s)
        beside = seen.services.get(baseline_name(version))
        if beside is not None and beside.owner == version.uid and not wanted_digest(version, seen, here.roles):
            waits.append(policy.poll_s)
        if version.deleted or (stage in ENDED and own_service(seen, version) is not None):
            waits.append(policy.poll_s)
    if entries and not (ack.complete and not ack.silent):
        # Where no version waits for it, a pod that lags or is silent is no hurry: on a busy node many do not answer in time.
        waiting = any(version.deleted or stage_of(version) in JOINED for version in seen.versions)
        waits.append(policy.poll_s if waiting else 4 * policy.poll_s)
    return min(waits)
