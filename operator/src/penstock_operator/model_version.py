"""The ModelVersion resource as values: what users write, with its defaults, and what the operator answers.

    object of the API --read_model_version--> ModelVersion(spec, status, annotations) --status_object--> its status again

The schema is charts/penstock/templates/modelversion-crd.yaml; a test holds the two together, property by property and default by
default. The API server refuses what the schema does not allow, so reading is forgiving: unknown fields are left out, and a
status that cannot be read counts as none.
"""

import re
from functools import lru_cache
from typing import Any

import msgspec

from penstock.evidence.ledger import Ledger
from penstock_operator.ledger_text import write_ledger

GROUP, VERSION, KIND, PLURAL = "penstock.dev", "v1alpha1", "ModelVersion", "modelversions"
API_VERSION = f"{GROUP}/{VERSION}"

PAUSED = f"{GROUP}/paused"
"""Annotation, "true": no step is taken until it goes. Roll-backs and deletions are."""
PROMOTE = f"{GROUP}/promote"
"""Annotation, a per cent of requests: a manual rollout may go up to this step, and one by evidence goes on to it unjudged."""
ROLLBACK = f"{GROUP}/rollback"
"""Annotation, why: the version gives its requests back and stays out for good."""
ROUTE_FINALIZER = f"{GROUP}/route"
"""Keeps a deleted version until no transformer routes to it."""


class _Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=False):
    """Camel-cased on the wire."""


class BundleSource(_Struct, frozen=True):
    """Where a bundle lies (pvc://, oci://, s3://, gs://, https://) and the digest that it must have."""

    uri: str
    digest: str


class Replicas(_Struct, frozen=True):
    """How many predictor pods. `max` None: as many as `min`."""

    min: int = 1
    max: int | None = None


class Runtime(_Struct, frozen=True):
    """The predictor pods. `resources` as a container's, None for the runtime's own; `device` auto follows the resources."""

    resources: dict[str, dict[str, int | str]] | None = None
    replicas: Replicas = Replicas()
    device: str = "auto"
    service_account_name: str | None = None


class Shadow(_Struct, frozen=True):
    """Copies of this share of requests go to the version before it answers any."""

    fraction: float = 0.1
    min_requests: int = 500


class Margins(_Struct, frozen=True):
    """How much worse than the version before is still acceptable: differences of rates, and a ratio of latencies. `quality`: of
    the rate of answers that turn out wrong, or of the costs' range."""

    error_rate: float = 0.005
    latency_p99: float = 1.25
    output_drift: float = 0.15
    disagreement: float = 0.05
    quality: float = 0.02


class Rollout(_Struct, frozen=True):
    """How a version gets its requests. `steps` rise to 100; durations as `2h`; `shadow` None skips shadowing.
    `baseline`: the version before gets fresh pods and as many requests as this one, to be compared with."""

    strategy: str = "evidence"
    shadow: Shadow | None = None
    steps: tuple[int, ...] = (10, 50, 100)
    margins: Margins = Margins()
    alpha: float = 0.01
    max_duration: str = "2h"
    on_insufficient_traffic: str = "wait"
    on_newer_version: str = "supersede"
    keep_for_rollback: str = "1h"
    baseline: bool = False

    def step_after(self, weight: int) -> int:
        """The per cent of requests that comes after this one."""
        return min((step for step in self.steps if step > weight), default=100)


class Spec(_Struct, frozen=True):
    """What the user asks for. `inference_service` is the one whose transformer callers reach."""

    inference_service: str
    bundle: BundleSource
    runtime: Runtime = Runtime()
    rollout: Rollout = Rollout()


class Condition(_Struct, frozen=True):
    """A condition in the API's usual form; `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class Verification(_Struct, frozen=True):
    """What the verification measured; `profile` holds rows, milliseconds and bytes of each size."""

    model_bytes: int = 0
    peak_memory_bytes: int = 0
    seconds: float = 0.0
    profile: tuple[dict[str, Any], ...] = ()


class Status(_Struct, frozen=True):
    """What the operator answers, and remembers.

    `phase` is shown; `stage` is where the rollout stands, also while `phase` says Paused. `weight` is the per cent of requests
    that this version is meant to get; the route follows it. `digest` is what was verified, `bundle` its first digits. Times are
    RFC 3339 in UTC. `attempt` counts how often pods were asked for, `verify_attempts` how often a verification was run again.
    `route_revision`: of the route that was last seen acknowledged with this version in it. `baseline`: the digest that the pods
    hold with which it is compared, `none` for a trial that goes without, "" as long as that is open.
    """

    phase: str = "Pending"
    stage: str = "Pending"
    weight: int = 0
    digest: str = ""
    bundle: str = ""
    reason: str = ""
    message: str = ""
    stage_since: str = ""
    live_since: str = ""
    kept_until: str = ""
    attempt: int = 0
    verify_attempts: int = 0
    route_revision: int = 0
    conditions: tuple[Condition, ...] = ()
    verification: Verification | None = None
    evidence: dict[str, Any] = {}
    baseline: str = ""
    observed_generation: int = 0

    def condition(self, name: str) -> Condition | None:
        return next((one for one in self.conditions if one.type == name), None)

    def holds(self, name: str) -> bool:
        """Whether a condition is True."""
        found = self.condition(name)
        return found is not None and found.status == "True"


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One ModelVersion as it was seen. `created` and `deleted` are RFC 3339, `deleted` empty unless it is being deleted."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: str
    deleted: str
    finalizers: tuple[str, ...]
    annotations: dict[str, str]
    spec: Spec
    status: Status

    @property
    def is_paused(self) -> bool:
        """Whether it was told to take no step."""
        return self.annotations.get(PAUSED, "").lower() == "true"

    @property
    def promoted_to(self) -> int | None:
        """Up to which per cent of requests it was told to go; None if nothing was said that can be read."""
        text = self.annotations.get(PROMOTE, "").strip().removesuffix("%").strip()
        return int(text) if text.isdecimal() and len(text) < 10 else None

    @property
    def predictor(self) -> str:
        """The name of its own InferenceService."""
        return predictor_name(self.name, self.spec.inference_service)

    @property
    def job(self) -> str:
        """The name of its verification Job."""
        return f"{self.name}-verify"

    @property
    def order(self) -> tuple[str, tuple[tuple[int, int, str], ...]]:
        """Older versions first; of those that came in the same second by name, 10 after 9."""
        return self.created, _order_of_names(self.name)


@lru_cache(maxsize=4096)
def _order_of_names(name: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", name))


def predictor_name(version: str, model: str) -> str:
    """The InferenceService of a version: its own name, with the model's before it where that does not begin it already."""
    return version if version.startswith(f"{model}-") else f"{model}-{version}"


def read_model_version(document: dict[str, Any]) -> ModelVersion:
    """A ModelVersion of the API's object. Raises msgspec.ValidationError, with the field, if the spec is none."""
    metadata = document["metadata"]
    return ModelVersion(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        generation=metadata.get("generation", 0),
        created=metadata.get("creationTimestamp") or "",
        deleted=metadata.get("deletionTimestamp") or "",
        finalizers=tuple(metadata.get("finalizers") or ()),
        annotations=metadata.get("annotations") or {},
        spec=msgspec.convert(_without_nulls(document.get("spec")), Spec),
        status=_read_status(document.get("status")),
    )


def status_object(status: Status) -> dict[str, Any]:
    """A status as the API takes it: what is empty is left out, but for the fields that columns show."""
    document: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(status, evidence={}))
    document["evidence"] = dict(status.evidence)
    if isinstance(ledger := status.evidence.get("ledger"), Ledger):
        document["evidence"]["ledger"] = write_ledger(ledger)
    shown = {"phase", "stage", "weight", "observedGeneration", "conditions"}
    return {name: value for name, value in document.items() if name in shown or value not in ("", 0, None, [], {})}


def _read_status(document: Any) -> Status:
    try:
        return msgspec.convert(_without_nulls(document) or {}, Status)
    except msgspec.ValidationError:
        return Status()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value
