"""What was seen of one model: everything that its decision needs, and nothing else.

    snapshot (I/O) --> Seen --desired.decide--> Plan --> apply (I/O)

Values only: a decision on the same Seen is the same decision. What is here may be old by the time it is acted on; what a plan
writes therefore names the resourceVersion that it was decided on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.evidence.document import Evidence
from penstock.evidence.quality import QualityEntry
from penstock_operator.cluster import Kind
from penstock_operator.model_version import ModelVersion

# Transformers ask every few seconds.
DEAF_S = 10.0
ObjectKey = tuple[Kind, str]
"""Kind and name of an object in a model's namespace."""
COLLOCATED_PORT = 8085
"""Where a predictor listens whose pod it shares with a transformer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a transformer pod said on `GET /route`. `rejected` is the revision that it refused, with why, if it did.
    `confirmed_s`: since the API server last told it what the route is; None if it goes by something else."""

    revision: int
    applied: tuple[str, ...] = ()
    rejected: int = -1
    error: str = ""
    confirmed_s: float | None = None

    @property
    def is_deaf(self) -> bool:
        """No route would reach it: it answers, and is as silent as one that does not."""
        return self.confirmed_s is not None and self.confirmed_s > DEAF_S


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that routes. `running`: its container runs; `unready_s`, `silent_s`: how long it has been so (0: it is not).
    `answer` is of this look; None if it gave none."""

    name: str
    uid: str
    ready: bool = True
    running: bool = True
    deleting: bool = False
    answer: Answer | None = None
    unready_s: float = 0.0
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class InferenceService:
    """An InferenceService. `made`: by this operator, to run a model's transformer; `owner`: uid of the ModelVersion whose
    predictor it is; `routes`: it has a transformer. `starts`: its pods that are ready, if a version waits for them or is on
    trial, each by its uid and how often its containers were started again. `message`: why it is not ready."""

    name: str
    uid: str
    resource_version: str
    owner: str = ""
    made: bool = False
    routes: bool = False
    ready: bool = False
    starts: tuple[str, ...] = ()
    deleting: bool = False
    message: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pods(self) -> int:
        """How many of its pods are ready, as `starts` has them."""
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Job:
    """A verification. `report` is what its container wrote at its end. `attempt`: as the version's status had it when it was
    made. `has_pod`: one was made for it. `message`: why that does not run. `made`, `over`: moments; the second "" until its
    controller says that it has ended."""

    name: str
    uid: str
    resource_version: str
    owner: str = ""
    attempt: int = 0
    ended: bool = False
    deleting: bool = False
    killed_for_memory: bool = False
    report: Mapping[str, Any] | None = None
    message: str = ""
    has_pod: bool = True
    made: str = ""
    over: str = ""

    @property
    def is_mute(self) -> bool:
        """It has ended, and that is no verdict."""
        return self.ended and self.report is None and not self.killed_for_memory


@dataclass(frozen=True, slots=True)
class Scaler:
    """A HorizontalPodAutoscaler of the operator's."""

    name: str
    uid: str
    resource_version: str
    deleting: bool = False
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A bundle of the route. `arm`: it is other pods of a bundle that has an entry already."""

    digest: str
    predictor: str
    weight: float = 0.0
    fraction: float | None = None
    model: str | None = None
    arm: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """The route's ConfigMap. `entries` None: its text is not what the operator writes. `acknowledged`: the last revision of which
    it says that most transformers apply it."""

    uid: str
    resource_version: str
    revision: int
    entries: tuple[Entry, ...] | None
    acknowledged: int = 0
    made_service: bool = False
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the API server has not taken, `tries` times in a row, and why; not to be given again before `until`. `tried`: the last
    time; `since`: the first of those in a row that were answered in words, infinite if the last one got no answer. All in seconds
    since 1970. Without a try it was put off for another one (`apply`)."""

    why: str
    document: Mapping[str, Any]
    until: float
    tries: int = 0
    tried: float = 0.0
    since: float = float("inf")

    @property
    def is_lasting(self) -> bool:
        """Not where an API server was away, nor where a webhook starts after it, as KServe's does for up to a minute."""
        return self.tried - self.since >= 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One model. `now` in seconds since 1970. `service` is the InferenceService that callers reach; `services` and `scalers` are
    the versions', by name, and `jobs` those of versions that are being verified; `held`: the digests that pods of the user's own
    predictor hold, with how many ready pods each; `collocated`: these are the transformers' pods. `evidence`: of the pods that
    told it; None if they were not asked. `quality`: what logs' sinks told of outcomes, empty if they told nothing; None where no
    sink is known. `refused`: what the API server did not take when it was last given it."""

    namespace: str
    model: str
    now: float
    versions: tuple[ModelVersion, ...] = ()
    service: InferenceService | None = None
    services: Mapping[str, InferenceService] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    scalers: Mapping[str, Scaler] = field(default_factory=dict)
    route: Route | None = None
    pods: tuple[Pod, ...] = ()
    held: tuple[tuple[str, int], ...] = ()
    collocated: bool = False
    evidence: tuple[Evidence, ...] | None = None
    quality: tuple[QualityEntry, ...] | None = None
    refused: Mapping[ObjectKey, Refusal] = field(default_factory=dict)

    def why_not(self, kind: Kind, name: str) -> str:
        """Why the API server has not taken an object, "" if it has, or was not asked."""
        found = self.refused.get((kind, name))
        return found.why[:512] if found is not None else ""
