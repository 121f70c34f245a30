"""From the API server and the pods to what a decision needs: one look at one model.

    reader (API server, or what watches have kept of it) --\\
    pods' answers (GET /route, GET /evidence, the predictor's metadata), the logs' sinks' (GET /quality) ----> Seen

A look from what watches have kept costs no call; it says whether there may be something to do, and adds up evidence. What is done
is decided on a look at the API server itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from penstock.evidence.document import Evidence
from penstock.evidence.quality import QualityDocument, entries_of
from penstock_operator.baseline import baseline_name, has_step, is_asked
from penstock_operator.cache import CachedReader
from penstock_operator.clock import read_moment
from penstock_operator.cluster import CONFIG_MAPS, INFERENCE_SERVICES, JOBS, MODEL_VERSIONS, PODS, SCALERS, Kind, Missing, Object
from penstock_operator.inference_service import read_service
from penstock_operator.judgement import is_due, is_tried
from penstock_operator.model_version import ModelVersion
from penstock_operator.remembering import Remembered, readable
from penstock_operator.roles import stage_of
from penstock_operator.route import LABEL as ROUTE_LABEL
from penstock_operator.route import read_route_document, route_name
from penstock_operator.scaling import read_scaler
from penstock_operator.seen import Answer, InferenceService, ObjectKey, Pod, Refusal, Scaler, Seen
from penstock_operator.stage import Stage
from penstock_operator.verification_job import MODEL_LABEL, VERSION_LABEL, read_job

_T = TypeVar("_T")
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
COLLOCATED = "transformer-container"
_NO_BUNDLES: Mapping[str, str] = {}


class Reader(Protocol):
    """What a look reads of the API server."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object: ...

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[list[Object], str]: ...


class Asker(Protocol):
    """Asks pods. What does not answer in a second has no place in the result."""

    async def routes(self, pods: Sequence[Object]) -> Mapping[str, Answer]:
        """Answers to GET /route, by the pods' uids."""
        ...

    async def routes_and_evidence(self, pods: Sequence[Object]) -> tuple[Mapping[str, Answer], Sequence[Evidence]]:
        """The same, and answers to GET /evidence: one question to a pod that tells both."""
        ...

    async def quality(self, model: str) -> Sequence[QualityDocument] | None:
        """Answers to GET /quality of the logs' sinks; None where none is known."""
        ...

    def is_quality_due(self, model: str) -> bool:
        """Whether `quality` would ask a sink now: not where none is known, or where they were asked a moment ago."""
        ...

    async def bundles(self, pods: Sequence[Object], model: str) -> Mapping[str, str]:
        """Digests of the bundles that predictor pods hold, by the pods' uids; empty for a server that knows no bundles."""
        ...


class Silence:
    """How long each pod has not answered. Remembered by this process only: a new operator gives every pod its time anew. `clock`
    tells seconds that nobody sets: pods are evicted for how many have passed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Of each model, by uid.
        self._since: dict[tuple[str, str], dict[str, float]] = {}

    def after(self, namespace: str, model: str, answered: Mapping[str, bool]) -> Mapping[str, float]:
        """Seconds that each of a model's pods has been silent for, by uid. These are all that it has: what is known of others,
        which are gone, is dropped."""
        now_s, before = self._clock(), self._since.pop((namespace, model), {})
        since = {uid: before.get(uid, now_s) for uid, has_answered in answered.items() if not has_answered}
        if since:
            self._since[namespace, model] = since
        return {uid: now_s - since.get(uid, now_s) for uid in answered}

    def forget(self, namespace: str, model: str) -> None:
        """Drop a model that nobody looks at any more."""
        self._since.pop((namespace, model), None)


async def look(
    reader: Reader,
    asker: Asker,
    silence: Silence,
    namespace: str,
    model: str,
    names: Iterable[str],
    now: float | None = None,
    *,
    with_evidence: bool = True,
    with_scalers: bool = False,
    remembered: Remembered | None = None,
    refused: Mapping[ObjectKey, Refusal] | None = None,
) -> Seen:
    """Everything about a model. `names`: its ModelVersions, as the watch knows them. `with_evidence`: pods are asked for evidence
    where it is due; `with_scalers`: there is a right to read autoscalers. `remembered`: what looks before this one have learnt;
    `refused`: objects that were not taken after the last one. Raises ClusterError."""
    now = time.time() if now is None else now
    service, route, *documents = await _together(
        reader,
        [
            _or_none(reader, INFERENCE_SERVICES, namespace, model),
            _or_none(reader, CONFIG_MAPS, namespace, route_name(model)),
            *(_or_none(reader, MODEL_VERSIONS, namespace, name) for name in names),
        ],
    )
    versions = _versions(model, documents, remembered.read if remembered is not None else readable)
    services, jobs, ours, callers, routed = await _labelled(reader, namespace, model)
    pods = {pod["metadata"]["uid"]: pod for pod in (*callers, *routed)}
    routing = [pod for pod in pods.values() if _routes(pod)]
    holding = [pod for pod in callers if _holds(pod) and _is_ready(pod)[0] and not pod["metadata"].get("deletionTimestamp")]
    running = [pod for pod in routing if _is_running(pod)]
    due = with_evidence and any(is_due(version, now) for version in versions)
    asking, bundles = _asked(asker, running, model, due=due), _NO_BUNDLES
    # Where versions answer nobody is asked, and a task for it would cost as much as a pod's answer.
    if holding:
        (answers, told, quality), bundles = await asyncio.gather(asking, asker.bundles(holding, model))
    else:
        answers, told, quality = await asking
    read = remembered.service if remembered is not None else read_service
    theirs = await _of_versions(reader, namespace, versions, services, read)
    silent_s = silence.after(namespace, model, {uid: _has_answered(answers.get(uid)) for uid in map(_uid, routing)})
    # Of one that was verified its job says nothing any more.
    verifying = {version.job for version in versions if stage_of(version) is Stage.VERIFYING}
    return Seen(
        namespace=namespace,
        model=model,
        now=now,
        versions=versions,
        service=read(service) if service is not None else None,
        services={one.name: one for one in theirs if one.name != model},
        jobs={name: read_job(job, _of_job(ours, job)) for job in jobs if (name := job["metadata"]["name"]) in verifying},
        scalers=await _scalers(reader, namespace, model) if with_scalers else {},
        route=read_route_document(route) if route is not None else None,
        pods=tuple(_pod(pod, answers.get(_uid(pod)), silent_s[_uid(pod)], now) for pod in routing),
        held=_counted(bundles.values()),
        collocated=any(is_collocated(pod) for pod in callers if _holds(pod)),
        evidence=None if told is None else tuple(told),
        quality=None if quality is None else tuple(entries_of(quality)),
        refused=refused or {},
    )


async def _asked(
    asker: Asker, pods: Sequence[Object], model: str, *, due: bool
) -> tuple[Mapping[str, Answer], Sequence[Evidence] | None, Sequence[QualityDocument] | None]:
    """What transformers say of their routes; where that is due, what they and the logs' sinks tell of requests, else None."""
    if not due:
        return await asker.routes(pods), None, None
    if asker.is_quality_due(model):
        # Beside the pods: a sink that is silent is waited for as long as a pod, or longer.
        (answers, told), quality = await asyncio.gather(asker.routes_and_evidence(pods), asker.quality(model))
        return answers, told, quality
    answers, told = await asker.routes_and_evidence(pods)
    return answers, told, await asker.quality(model)


async def _labelled(reader: Reader, namespace: str, model: str) -> list[list[Object]]:
    """InferenceServices, Jobs and pods of the model's versions, pods of its own InferenceService, and others that it routes."""
    wanted = (
        (INFERENCE_SERVICES, MODEL_LABEL), (JOBS, MODEL_LABEL), (PODS, MODEL_LABEL), (PODS, SERVICE_LABEL), (PODS, ROUTE_LABEL),
    )  # fmt: skip
    found = await _together(reader, [reader.list(kind, namespace, labels=f"{label}={model}") for kind, label in wanted])
    return [objects for objects, _ in found]


async def _scalers(reader: Reader, namespace: str, model: str) -> dict[str, Scaler]:
    documents, _ = await reader.list(SCALERS, namespace, labels=f"{MODEL_LABEL}={model}")
    return {found.name: found for document in documents if (found := read_scaler(document)) is not None}


def _versions(
    model: str, documents: Iterable[Object | None], read: Callable[[Object], ModelVersion | None]
) -> tuple[ModelVersion, ...]:
    found = [read(document) for document in documents if document is not None]
    return tuple(version for version in found if version is not None and version.spec.inference_service == model)


async def _together(reader: Reader, calls: Sequence[Awaitable[_T]]) -> list[_T]:
    """The answers to calls that are made side by side; what a cache has is there at once, and is worth no tasks."""
    if isinstance(reader, CachedReader):
        return [await call for call in calls]
    return await asyncio.gather(*calls)


async def _or_none(reader: Reader, kind: Kind, namespace: str, name: str) -> Object | None:
    # Called in here: a task that is given up before it began has begun no call that nobody awaits.
    try:
        return await reader.get(kind, namespace, name)
    except Missing:
        return None


async def _of_versions(
    reader: Reader,
    namespace: str,
    versions: Sequence[ModelVersion],
    labelled: list[Object],
    read: Callable[[Object, tuple[str, ...]], InferenceService],
) -> list[InferenceService]:
    """The versions' InferenceServices, with which pods of each have started."""
    named = await _named(reader, namespace, versions, labelled)
    starts = await _started(reader, namespace, versions)
    return [read(one, starts.get(one["metadata"]["name"], ())) for one in named]


async def _named(reader: Reader, namespace: str, versions: Iterable[ModelVersion], labelled: list[Object]) -> list[Object]:
    """Objects of a version's name may lack the label: somebody else's, or edited."""
    known = {one["metadata"]["name"] for one in labelled}
    others = [version.predictor for version in versions if version.predictor not in known]
    found = await _together(reader, [_or_none(reader, INFERENCE_SERVICES, namespace, name) for name in others])
    return [*labelled, *(one for one in found if one is not None)]


async def _started(reader: Reader, namespace: str, versions: Iterable[ModelVersion]) -> dict[str, tuple[str, ...]]:
    """Ready pods of the versions that wait for them or are on trial, and of baselines, by InferenceService: KServe calls that
    ready with its first pod. The pods of the other versions are their autoscaler's."""
    names = [version.predictor for version in versions if stage_of(version) is Stage.WARMING or is_tried(version)]
    names += [baseline_name(version) for version in versions if is_asked(version) and has_step(version)]
    found = await _together(reader, [reader.list(PODS, namespace, labels=f"{SERVICE_LABEL}={name}") for name in names])
    return {name: tuple(map(_start, filter(_serves, pods))) for name, (pods, _) in zip(names, found, strict=True)}


def _start(pod: Object) -> str:
    """A pod as it runs now: another text once one of its containers was started again."""
    states = (pod.get("status") or {}).get("containerStatuses") or []
    return f"{pod['metadata']['uid']}.{sum(state.get('restartCount') or 0 for state in states)}"


def _serves(pod: Object) -> bool:
    """A predictor's pod that is ready and stays. A verification's pod may have the same label, but is no component."""
    going = bool(pod["metadata"].get("deletionTimestamp"))
    return _labels(pod).get("component") == "predictor" and _is_ready(pod)[0] and not going


def _of_job(pods: list[Object], job: Object) -> list[Object]:
    uid = job["metadata"]["uid"]
    return [pod for pod in pods if any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or [])]


def _labels(pod: Object) -> dict[str, str]:
    return pod["metadata"].get("labels") or {}


def _containers(pod: Object) -> set[str]:
    return {container.get("name", "") for container in (pod.get("spec") or {}).get("containers") or []}


def _routes(pod: Object) -> bool:
    """Whether a pod is a transformer: the component, one that shares its pod with a predictor, or one that is labelled so."""
    labels = _labels(pod)
    return labels.get("component") == "transformer" or ROUTE_LABEL in labels or COLLOCATED in _containers(pod)


def _holds(pod: Object) -> bool:
    labels = _labels(pod)
    return labels.get("component") == "predictor" and ROUTE_LABEL not in labels and VERSION_LABEL not in labels


def is_collocated(pod: Object) -> bool:
    """Whether transformer and predictor share the pod: the predictor then listens on another port."""
    return COLLOCATED in _containers(pod)


def _is_running(pod: Object) -> bool:
    status = pod.get("status") or {}
    states = [one.get("state") or {} for one in status.get("containerStatuses") or []]
    running = any("running" in state for state in states) if states else True
    return status.get("phase", "Running") == "Running" and running and bool(status.get("podIP"))


def _is_ready(pod: Object) -> tuple[bool, str]:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready":
            return condition.get("status") == "True", condition.get("lastTransitionTime") or ""
    return False, ""


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def _has_answered(answer: Answer | None) -> bool:
    return answer is not None and not answer.is_deaf


def _pod(pod: Object, answer: Answer | None, silent_s: float, now: float) -> Pod:
    metadata, (ready, since) = pod["metadata"], _is_ready(pod)
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        ready=ready,
        running=_is_running(pod),
        deleting=bool(metadata.get("deletionTimestamp")),
        answer=answer,
        unready_s=0.0 if ready else max(0.0, now - read_moment(since, now)),
        silent_s=silent_s,
    )


def _counted(digests: Iterable[str]) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for digest in digests:
        counts[digest] = counts.get(digest, 0) + 1
    return tuple(sorted(counts.items()))
