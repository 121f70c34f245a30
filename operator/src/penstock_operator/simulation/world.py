"""Everything around the operator, in memory: KServe, the job controller, transformer pods, the garbage collector, the user.

Nothing moves by itself: a test calls the moves, in any order and as often as it likes. `settle` lets everything move until
nothing does. The world watches what the operator must never do, at each of its calls:

    a bundle that is not verified is in the route
    an InferenceService is deleted while a living transformer would still send to it
    a version gets more requests than before while a ready transformer has not applied the route before
    a version joins others in the route with fewer pods than it asks for
    an InferenceService that a user has applied is changed or deleted
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.evidence.document import Evidence
from penstock.evidence.quality import QualityDocument
from penstock_operator.apply import carry_out
from penstock_operator.clock import write_moment
from penstock_operator.cluster import (
    CONFIG_MAPS,
    INFERENCE_SERVICES,
    JOBS,
    MODEL_VERSIONS,
    PODS,
    SCALERS,
    ClusterError,
    Kind,
    Object,
)
from penstock_operator.desired import decide
from penstock_operator.looking import SERVICE_LABEL, Silence, look
from penstock_operator.plan import Plan
from penstock_operator.policy import Policy
from penstock_operator.refusals import noted
from penstock_operator.route import predictor_address, route_name
from penstock_operator.scaling import CLASS, EXTERNAL
from penstock_operator.seen import Answer, ObjectKey, Refusal
from penstock_operator.simulation.memory_cluster import MemoryCluster
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE, Died, Transformer, WatchedCluster, read_text
from penstock_operator.verification_job import VERSION_LABEL


class World:
    """`verdicts` says what a verification finds of a digest: ok (else), a report's kind, memory, or silent (no verdict).
    `told`: what the transformers answer to GET /evidence. `refuses`: what the API server does not take (of a version
    its status), and why; an error is raised as it is."""

    def __init__(self, verdicts: Mapping[str, str] | None = None, *, policy: Policy | None = None) -> None:
        self.cluster = WatchedCluster(self)
        self.verdicts = dict(verdicts or {})
        self.policy = policy or Policy()
        self.now = 1_000_000.0
        self.transformers: dict[str, Transformer] = {}
        self.own_digest = ""
        self.told: list[Evidence] = []
        self.outcomes: list[QualityDocument] | None = None
        self.calls = 0
        self.die_at: int | None = None
        self.refuses: dict[ObjectKey, str | ClusterError] = {}
        self._silence = Silence(lambda: self.now)
        self._refused: Mapping[ObjectKey, Refusal] = {}

    # --- the operator

    async def operate(self, reader: Any = None) -> Plan:
        """One look and what follows from it, which takes a moment; it dies before its `die_at`-th call from now."""
        self.now += 0.001
        reader = reader or self.cluster
        names = self._names(reader)
        seen = await look(
            reader, self, self._silence, NAMESPACE, MODEL, names, self.now,
            with_scalers=self.policy.scales, refused=self._refused,
        )  # fmt: skip
        plan = decide(seen, self.policy)
        self._refused = noted(seen, plan, await carry_out(plan, self.cluster), self.now)
        return plan

    async def operate_and_die(self, calls: int) -> None:
        """One look by an operator that dies before its so many-th call, if it makes as many; then another one begins."""
        self.die_at = self.calls + calls
        try:
            await self.operate()
        except Died:
            self.restart()
        self.die_at = None

    async def round(self) -> None:
        """One look, and then everything but the transformers moves."""
        await self.operate()
        self.run_jobs()
        self.make_pods()
        self.collect()

    def keep_cache(self) -> MemoryCluster:
        """What a cache holds now, for a look that comes later."""
        cache = MemoryCluster()
        cache.objects = dict(self.cluster.objects)
        return cache

    def restart(self) -> None:
        """Another operator takes over: it remembers nothing."""
        self._silence = Silence(lambda: self.now)
        self._refused = {}

    def _names(self, reader: MemoryCluster) -> list[str]:
        return [name for plural, _, name in reader.objects if plural == MODEL_VERSIONS.plural]

    async def routes(self, pods: Sequence[Object]) -> Mapping[str, Answer]:
        found = {}
        for pod in pods:
            transformer = self.transformers.get(pod["metadata"]["uid"])
            if transformer is not None and not transformer.deaf:
                rejected = transformer.rejected
                error = "bundles[1].arm: unknown" if rejected >= 0 else ""
                applied = tuple(transformer.applied.values())
                found[pod["metadata"]["uid"]] = Answer(transformer.revision, applied, rejected, error)
        return found

    async def routes_and_evidence(self, pods: Sequence[Object]) -> tuple[Mapping[str, Answer], Sequence[Evidence]]:
        return await self.routes(pods), self.told

    async def quality(self, model: str) -> Sequence[QualityDocument] | None:  # noqa: ARG002 - the port's
        return self.outcomes

    def is_quality_due(self, model: str) -> bool:  # noqa: ARG002 - the port's
        return self.outcomes is not None

    async def bundles(self, pods: Sequence[Object], model: str) -> Mapping[str, str]:  # noqa: ARG002 - the port's
        return {pod["metadata"]["uid"]: self.own_digest for pod in pods}

    # --- the user

    def add_version(self, name: str, digest: str, **spec: Any) -> None:
        self.cluster.put(
            MODEL_VERSIONS,
            {
                "apiVersion": "penstock.dev/v1alpha1",
                "kind": "ModelVersion",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"inferenceService": MODEL, "bundle": {"uri": f"pvc://bundles/{name}", "digest": digest}, **spec},
            },
        )

    def annotate(self, name: str, **annotations: str | None) -> None:
        document = self.cluster.objects.get((MODEL_VERSIONS.plural, NAMESPACE, name))
        if document is not None:
            known = {k: v for k, v in (document["metadata"].get("annotations") or {}).items() if k not in annotations}
            given = {f"penstock.dev/{key}": value for key, value in annotations.items()}
            merged = {key: value for key, value in {**known, **given}.items() if value is not None}
            self.cluster.put(MODEL_VERSIONS, {**document, "metadata": {**document["metadata"], "annotations": merged}})

    async def delete_version(self, name: str) -> None:
        await self.cluster.delete(MODEL_VERSIONS, NAMESPACE, name)

    def apply_service(self, digest: str, transformers: int = 2) -> None:
        """The user's own InferenceService, with a bundle of its own."""
        self.own_digest = digest
        document = {
            "metadata": {"name": MODEL, "namespace": NAMESPACE},
            "spec": {"predictor": {"model": {"storageUri": "pvc://bundles/own"}}, "transformer": {"containers": []}},
        }
        self.cluster.put(INFERENCE_SERVICES, document)
        self._add_pod(f"{MODEL}-predictor-0", {"component": "predictor"})
        for number in range(transformers):
            self.add_transformer(f"{MODEL}-transformer-{number}")

    def add_transformer(self, name: str) -> None:
        """A new pod reads the route before it is ready; without one it follows the user's own predictor."""
        made = self._add_pod(name, {"component": "transformer"})
        transformer = self.transformers[made["metadata"]["uid"]] = Transformer()
        if self.own_digest:
            transformer.applied = {predictor_address(MODEL, NAMESPACE): self.own_digest}
        self._read_route(transformer)

    def _add_pod(self, name: str, labels: dict[str, str]) -> Object:
        return self.cluster.put(
            PODS,
            {
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "labels": {SERVICE_LABEL: MODEL, **labels},
                },
                "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
            },
        )

    # --- the platform's moves

    def run_jobs(self) -> bool:
        """Every job that has not ended ends."""
        moved = False
        for (plural, namespace, name), job in list(self.cluster.objects.items()):
            if plural != JOBS.plural or job.get("status"):
                continue
            moved = True
            version = self.cluster.objects.get((MODEL_VERSIONS.plural, NAMESPACE, name.removesuffix("-verify")))
            digest = version["spec"]["bundle"]["digest"] if version else ""
            found = self.verdicts.get(digest, "ok")
            ended = {"type": "Complete", "status": "True", "lastTransitionTime": write_moment(self.now)}
            self.cluster.put(JOBS, {**job, "status": {"conditions": [ended]}})
            if found != "silent":
                self._job_pod(namespace, name, job["metadata"]["uid"], found, digest)
            else:
                self.verdicts[digest] = "ok"
        return moved

    def _job_pod(self, namespace: str, name: str, uid: str, found: str, digest: str) -> None:
        report = {"ok": found == "ok", "digest": digest, "kind": found, "message": "as the test wants it"}
        ended = {"reason": "OOMKilled"} if found == "memory" else {"reason": "Completed", "message": json.dumps(report)}
        self.cluster.put(
            PODS,
            {
                "metadata": {
                    "name": f"{name}-{uid}",
                    "namespace": namespace,
                    "labels": {"penstock.dev/model": MODEL},
                    "ownerReferences": [{"kind": "Job", "uid": uid}],
                },
                "status": {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": ended}}]},
            },
        )

    def make_pods(self) -> bool:
        """KServe makes the pods of every InferenceService, one a move; it calls a predictor ready with the first."""
        moved = False
        for (plural, _, name), service in list(self.cluster.objects.items()):
            if plural != INFERENCE_SERVICES.plural:
                continue
            moved = self._add_predictor_pod(name, service) or moved
            if service.get("status"):
                continue
            moved = True
            self.cluster.put(INFERENCE_SERVICES, {**service, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
            if (service["metadata"].get("labels") or {}).get("penstock.dev/made-by"):
                for number in range(2):
                    self.add_transformer(f"{name}-{service['metadata']['uid']}-{number}")
        return moved

    def _add_predictor_pod(self, name: str, service: Object) -> bool:
        least = service["spec"]["predictor"].get("minReplicas", 1)
        if (service["metadata"].get("annotations") or {}).get(CLASS) == EXTERNAL:
            # KServe's Deployment says nothing of replicas: it has one pod until an autoscaler knows better.
            targets = [one["spec"]["scaleTargetRef"]["name"] for one in self.scalers().values()]
            assert len(targets) == len(set(targets)), "two autoscalers for one Deployment"
            least = least if f"{name}-predictor" in targets else 1
        pods = [f"{name}-predictor-{service['metadata']['uid']}-{number}" for number in range(least)]
        missing = [pod for pod in pods if (PODS.plural, NAMESPACE, pod) not in self.cluster.objects]
        if VERSION_LABEL not in (service["metadata"].get("labels") or {}) or not missing:
            return False
        self._add_pod(missing[0], {"component": "predictor", SERVICE_LABEL: name})
        return True

    def apply_route(self, at: int | None = None) -> bool:
        """The transformers, or the one at this place, apply what the ConfigMap says now."""
        living = [t for t in self.transformers.values() if not t.deaf]
        chosen = living if at is None else [living[at % len(living)]] if living else []
        return sum(self._read_route(transformer) for transformer in chosen) > 0

    def _read_route(self, transformer: Transformer) -> bool:
        document = self.cluster.objects.get((CONFIG_MAPS.plural, NAMESPACE, route_name(MODEL)))
        route = read_text(document)
        if route is None or route["revision"] == transformer.revision:
            return False
        if transformer.older and any("arm" in entry for entry in route["bundles"]):
            before, transformer.rejected = transformer.rejected, int(route["revision"])
            return before != transformer.rejected
        transformer.rejected = -1
        transformer.revision = route["revision"]
        transformer.applied = {entry["predictor"]: entry["digest"] for entry in route["bundles"]}
        return True

    def collect(self) -> bool:
        """The garbage collector: what is owned by something that is gone goes; pods go with their InferenceService."""
        uids = {document["metadata"]["uid"] for document in self.cluster.objects.values()}
        moved = False
        for (plural, namespace, name), document in list(self.cluster.objects.items()):
            owners = document["metadata"].get("ownerReferences") or []
            orphan = bool(owners) and not any(owner["uid"] in uids for owner in owners)
            labels = document["metadata"].get("labels") or {}
            service = labels.get(SERVICE_LABEL)
            if plural == PODS.plural and service:
                orphan = (INFERENCE_SERVICES.plural, namespace, service) not in self.cluster.objects
            if orphan:
                moved = True
                self.remove(Kind("", "", plural, plural), namespace, name)
        return moved

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Something goes that the operator does not delete itself."""
        found = self.cluster.objects.get((kind.plural, namespace, name))
        if found is not None:
            self.transformers.pop(found["metadata"]["uid"], None)
            self.cluster.take(kind, (kind.plural, namespace, name))

    async def settle(self, most: int = 400) -> None:
        """Let everything move until nothing does. Raises AssertionError if it never ends."""
        for _ in range(most):
            plan = await self.operate()
            moved = [self.run_jobs(), self.make_pods(), self.apply_route(), self.collect()]
            if not plan.operations and not any(moved):
                return
        raise AssertionError(f"still moving after {most} rounds: {[(o.verb, o.name) for o in plan.operations]}")

    # --- what is so now

    def status(self, name: str) -> dict[str, Any]:
        document = self.cluster.objects.get((MODEL_VERSIONS.plural, NAMESPACE, name))
        return (document or {}).get("status") or {}

    def route(self) -> dict[str, tuple[float, float | None]]:
        """Weight and fraction of every predictor in the route."""
        document = read_text(self.cluster.objects.get((CONFIG_MAPS.plural, NAMESPACE, route_name(MODEL))))
        bundles = document["bundles"] if document else []
        return {
            b["predictor"].removeprefix("http://").partition("-predictor.")[0]: (b.get("weight", 0), b.get("fraction"))
            for b in bundles
        }

    def route_revision(self) -> int:
        """The route's revision; 0 without a route."""
        document = read_text(self.cluster.objects.get((CONFIG_MAPS.plural, NAMESPACE, route_name(MODEL))))
        return int(document["revision"]) if document else 0

    def scalers(self) -> dict[str, Object]:
        """The autoscalers, by name."""
        return {name: one for (plural, _, name), one in self.cluster.objects.items() if plural == SCALERS.plural}

    def services(self) -> set[str]:
        return {name for plural, _, name in self.cluster.objects if plural == INFERENCE_SERVICES.plural}
