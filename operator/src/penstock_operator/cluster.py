"""The API server as the operator needs it: a narrow port, with one implementation over HTTPS and one in memory.

Objects are the API's own, as dicts. A call that the server refuses raises one of the errors below; the one table of what to do
about each is at the end of `apply`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API. `group` is empty for the core's."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


MODEL_VERSIONS = Kind("penstock.dev", "v1alpha1", "modelversions", "ModelVersion")
INFERENCE_SERVICES = Kind("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
JOBS = Kind("batch", "v1", "jobs", "Job")
SCALERS = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
PODS = Kind("", "v1", "pods", "Pod")
EVENTS = Kind("", "v1", "events", "Event")
LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")


class ClusterError(Exception):
    """The API server gave no answer that says anything about the call: away, overloaded, broken off. `status` 0 if none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Missing(ClusterError):
    """No such object (404)."""


class Changed(ClusterError):
    """The object is not as it was seen: another resourceVersion or uid, or it is there already (409)."""


class Refused(ClusterError):
    """The call is not allowed, or what it sends is not (400, 401, 403, 422)."""


class Gone(ClusterError):
    """A watch cannot go on from this resourceVersion (410): list again."""


@dataclass(frozen=True, slots=True)
class Change:
    """An event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: Object


class Cluster(Protocol):
    """Every call has a deadline of its own and raises ClusterError or one of its kinds. `namespace` None: all of them."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object: ...

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[list[Object], str]:
        """Objects that have these labels (`a=b,c`), and the resourceVersion of the list."""
        ...

    def watch(self, kind: Kind, namespace: str | None, since: str, *, labels: str = "") -> AsyncIterator[Change]:
        """What happens after a resourceVersion. Ends when the server ends it; raises Gone if it can no longer tell."""
        ...

    async def create(self, kind: Kind, document: Object) -> Object:
        """Raises Changed if it is there already."""
        ...

    async def apply(self, kind: Kind, document: Object) -> Object:
        """Server-side apply, conflicts overruled. A resourceVersion in the metadata is a precondition."""
        ...

    async def apply_status(self, kind: Kind, document: Object) -> Object:
        """The same of the status subresource."""
        ...

    async def replace(self, kind: Kind, document: Object) -> Object:
        """The whole object; the resourceVersion in its metadata is a precondition."""
        ...

    async def patch(self, kind: Kind, namespace: str, name: str, document: Object) -> Object:
        """Merge patch. A resourceVersion in the metadata is a precondition."""
        ...

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "") -> None:
        """In the background. An object that is gone already is no error."""
        ...

    async def evict(self, namespace: str, name: str, uid: str) -> None:
        """Through the eviction API. Raises Changed if a disruption budget does not allow it now."""
        ...
