"""The API server that a simulated operator talks to: it lets the operator die between two calls, and holds it to its promises.

What never may happen (see `world`) raises AssertionError at the very call that would make it happen.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from penstock_operator.baseline import BUNDLE
from penstock_operator.clock import write_moment
from penstock_operator.cluster import (
    CONFIG_MAPS,
    INFERENCE_SERVICES,
    MODEL_VERSIONS,
    PODS,
    Changed,
    ClusterError,
    Kind,
    Object,
    Refused,
)
from penstock_operator.looking import SERVICE_LABEL
from penstock_operator.model_version import read_model_version
from penstock_operator.roles import is_leaving, is_verified, stage_of
from penstock_operator.route import KEY, load_yaml, predictor_address, route_name
from penstock_operator.seen import ObjectKey
from penstock_operator.simulation.memory_cluster import MemoryCluster
from penstock_operator.stage import ENDED
from penstock_operator.verification_job import MODEL_LABEL

NAMESPACE, MODEL = "models", "flights"


class Died(BaseException):
    """The operator, between two calls."""


@dataclass
class Transformer:
    """A transformer pod. It applies whatever the ConfigMap says when it is its turn (`World.apply_route`)."""

    revision: int = 0
    applied: dict[str, str] = field(default_factory=dict)
    """Predictor's address -> digest."""
    deaf: bool = False
    """It cannot be asked, and hears of no route."""
    older: bool = False
    """It is of a release that refuses a route with arms."""
    rejected: int = -1
    """The revision that it refused."""


class Surroundings(Protocol):
    """What the cluster asks of the world around it."""

    now: float
    calls: int
    die_at: int | None
    own_digest: str
    transformers: dict[str, Transformer]
    refuses: dict[ObjectKey, str | ClusterError]


class WatchedCluster(MemoryCluster):
    """What the operator talks to: it dies where the world says, and is held to its promises."""

    def __init__(self, world: Surroundings) -> None:
        super().__init__()
        self._world = world

    def take(self, kind: Kind, key: tuple[str, str, str]) -> None:
        """Remove an object as somebody else would."""
        self._remove(kind, key)

    def _call(self) -> None:
        self._world.calls += 1
        if self._world.die_at is not None and self._world.calls >= self._world.die_at:
            self._world.die_at = None
            raise Died

    def _moment(self) -> str:
        # By the world's clock, and later than any before: versions are ordered by it.
        self.second = max(self.second + 1, int(self._world.now))
        return write_moment(self.second)

    async def create(self, kind: Kind, document: Object) -> Object:
        if self._key(kind, document) in self.objects:
            raise Changed("it is there")  # nothing is changed, so nothing can be left half done
        self._call()
        if kind == CONFIG_MAPS:
            self._check_route(document)
        return await MemoryCluster.apply(self, kind, document)

    async def apply(self, kind: Kind, document: Object) -> Object:
        self._call()
        name = document["metadata"]["name"]
        self._refuse(kind, name)
        self._check_owner(kind, name)
        if kind == CONFIG_MAPS:
            self._check_route(document)
        return await super().apply(kind, document)

    async def apply_status(self, kind: Kind, document: Object) -> Object:
        self._call()
        self._refuse(kind, document["metadata"]["name"])
        return await super().apply_status(kind, document)

    def _refuse(self, kind: Kind, name: str) -> None:
        if why := self._world.refuses.get((kind, name)):
            raise why if isinstance(why, ClusterError) else Refused(why, 403)

    async def patch(self, kind: Kind, namespace: str, name: str, document: Object) -> Object:
        self._call()
        self._check_owner(kind, name)
        return await super().patch(kind, namespace, name, document)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "") -> None:
        if uid:
            self._call()
            self._check_owner(kind, name)
            there = self.objects.get((kind.plural, namespace, name))
            ours = kind == INFERENCE_SERVICES and name != MODEL
            if ours and there is not None and there["metadata"]["resourceVersion"] == resource_version:
                self._check_unused(name)
        await super().delete(kind, namespace, name, uid=uid, resource_version=resource_version)

    def _check_owner(self, kind: Kind, name: str) -> None:
        there = self.objects.get((kind.plural, NAMESPACE, name))
        if kind == INFERENCE_SERVICES and there is not None and not (there["metadata"].get("labels") or {}).get(MODEL_LABEL):
            raise AssertionError(f"{name} is written to, which its user has applied")

    def _check_unused(self, service: str) -> None:
        """A version that was deleted with nothing to take its place takes its users with it: that is what was asked for."""
        versions = self._versions_now()
        gone = any(one.predictor == service and one.deleted for one in versions)
        staying = [one for one in versions if not is_leaving(one) and not (gone and stage_of(one) in ENDED)]
        address = predictor_address(service, NAMESPACE)
        users = [uid for uid, one in self._world.transformers.items() if address in one.applied and self._ready(uid)]
        if users and (staying or self._world.own_digest):
            raise AssertionError(f"{service} is deleted while {users} send to it")

    def _versions_now(self) -> list[Any]:
        found = [document for (plural, _, _), document in self.objects.items() if plural == MODEL_VERSIONS.plural]
        return [read_model_version(document) for document in found]

    def _ready(self, uid: str) -> bool:
        pods = [document for (plural, _, _), document in self.objects.items() if plural == PODS.plural]
        return any(pod["metadata"]["uid"] == uid for pod in pods)

    def _check_route(self, document: Object) -> None:
        name = route_name(MODEL)
        there = self.objects.get((CONFIG_MAPS.plural, NAMESPACE, name))
        version = document["metadata"].get("resourceVersion")
        if there is not None and version != there["metadata"]["resourceVersion"]:
            return  # it will be refused
        after, before = read_text(document), read_text(there)
        assert after is not None
        versions = {one.predictor: one for one in self._versions_now()}
        for entry in after["bundles"]:
            if entry.get("model") is None:
                continue
            version_of = versions.get(entry["model"].removesuffix("-base") if entry.get("arm") else entry["model"])
            if version_of is None or not is_verified(version_of):
                raise AssertionError(f"{entry['model']} is routed to without being verified")
            if entry.get("arm"):
                self._check_arm(entry, version_of.predictor, after["bundles"])
            if before is not None and entry["predictor"] not in {one["predictor"] for one in before["bundles"]}:
                self._check_pods(entry["model"], version_of.spec.runtime.replicas.min)
        self._check_step(before, after)

    def _check_arm(self, arm: dict[str, Any], candidate: str, entries: list[dict[str, Any]]) -> None:
        """A baseline has the bundle of another entry and the candidate's weight, and its pods hold that bundle."""
        same = [entry for entry in entries if entry["digest"] == arm["digest"] and not entry.get("arm")]
        other = [entry for entry in entries if entry.get("model") == candidate]
        if len(same) != 1 or same == other or [entry.get("weight", 0) for entry in other] != [arm["weight"]]:
            raise AssertionError(f"{arm} is no baseline among {entries}")
        service = self.objects.get((INFERENCE_SERVICES.plural, NAMESPACE, arm["model"]))
        if service is not None and service["metadata"]["annotations"][BUNDLE] != arm["digest"]:
            raise AssertionError(f"{arm['model']} is routed to for another bundle than it holds")

    def _check_pods(self, service: str, least: int) -> None:
        pods = [document for (plural, _, _), document in self.objects.items() if plural == PODS.plural]
        ready = sum((pod["metadata"].get("labels") or {}).get(SERVICE_LABEL) == service for pod in pods)
        # One that was deleted by hand since is made anew.
        if (INFERENCE_SERVICES.plural, NAMESPACE, service) in self.objects and ready < least:
            raise AssertionError(f"{service} comes into the route with {ready} of {least} pods")

    def _check_step(self, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        if after == before:
            return
        # One that is applied never comes to mean another route: that would pass for acknowledged.
        applied = max((one.revision for one in self._world.transformers.values()), default=0)
        assert after["revision"] > max(applied, before["revision"] if before else 0), "the revision does not grow"
        if before is None:
            return
        old = {entry["predictor"]: entry for entry in before["bundles"]}
        base = max(after["bundles"], key=lambda entry: entry.get("weight", 0))
        rising = [
            entry
            for entry in after["bundles"]
            if entry.get("weight", 0) > old.get(entry["predictor"], {}).get("weight", 0)
            and entry["weight"] < 100
            and entry is not base
        ]
        known = [uid for uid, one in self._world.transformers.items() if one.revision != before["revision"] and self._ready(uid)]
        if rising and known:
            raise AssertionError(f"{rising} gets more while {known} have not applied revision {before['revision']}")


def read_text(document: Object | None) -> dict[str, Any] | None:
    """The route of a ConfigMap, None for one that is broken."""
    if document is None:
        return None
    try:
        found = load_yaml(document["data"][KEY])
    except (KeyError, yaml.YAMLError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("bundles"), list) else None
