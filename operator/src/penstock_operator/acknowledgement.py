"""Whether every transformer applies the route that was written, and who still sends requests where.

    pods' answers to GET /route --Acknowledgement.of--> acknowledged | waiting for | refused by | silent

Invariants: only the very revision that is in the ConfigMap counts, and only while that is the route that the statuses call for;
a pod that cannot be asked has not acknowledged.
"""

from dataclasses import dataclass

from penstock_operator.cluster import INFERENCE_SERVICES
from penstock_operator.policy import Policy
from penstock_operator.seen import Entry, Pod, Seen


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """`written`: the ConfigMap holds the wanted route. `total` pods route, `current` of them apply it, `refused` says why others
    do not, `silent` gave no answer for too long, or heard of no route. `complete`: all of at least one pod. `why_not`: why the
    API server does not take the InferenceService that runs them, or would."""

    written: bool
    total: int
    current: int
    refused: tuple[str, ...]
    silent: tuple[Pod, ...]
    why_not: str = ""

    @property
    def complete(self) -> bool:
        return self.written and 0 < self.total == self.current

    @property
    def by_most(self) -> bool:
        """At most a third of the pods lag: those may turn unready for it (docs/decisions/0015-route-lag.md)."""
        return self.written and 0 < 2 * self.total <= 3 * self.current

    @property
    def cut_off(self) -> bool:
        """Over a third of the pods are silent: more likely the network than the pods."""
        return 3 * len(self.silent) > self.total

    @classmethod
    def of(cls, seen: Seen, entries: tuple[Entry, ...], policy: Policy) -> "Acknowledgement":
        """Pods that are being deleted count no more; neither does one that is not ready and says nothing: it gets no requests."""
        route = seen.route
        pods = [pod for pod in seen.pods if pod.running and not pod.deleting and (pod.ready or pod.answer is not None)]
        revision = route.revision if route is not None else None
        current = [pod for pod in pods if pod.answer is not None and pod.answer.revision == revision]
        refused = [
            f"{pod.name}: {pod.answer.error}"
            for pod in pods
            if pod.answer is not None and pod.answer.error and pod.answer.rejected == revision
        ]
        silent = [pod for pod in pods if pod.silent_s >= policy.silent_s]
        why_not = seen.why_not(INFERENCE_SERVICES, seen.model)
        return cls(is_written(seen, entries), len(pods), len(current), tuple(refused), tuple(silent), why_not)

    def describe(self) -> tuple[str, str]:
        """Reason and message of the condition Acknowledged."""
        if not self.total and self.why_not:
            return "TransformerRefused", self.why_not
        if not self.total:
            return "NoTransformer", "no transformer pod is running"
        if self.cut_off:
            return "TransformersSilent", f"{len(self.silent)} of {self.total} transformer pods do not answer the operator"
        if self.refused:
            return "RouteRefused", self.refused[0][:512]
        if not self.complete:
            return "WaitingForTransformers", f"{self.current} of {self.total} transformer pods apply the route"
        return "Acknowledged", f"all {self.total} transformer pods apply the route"


def is_written(seen: Seen, entries: tuple[Entry, ...]) -> bool:
    """Whether the ConfigMap holds these entries."""
    return seen.route is not None and not seen.route.deleting and seen.route.entries == entries


def is_unused(seen: Seen, address: str, digest: str, policy: Policy) -> bool:
    """Whether no transformer can send anything to this predictor any more: it is out of the route, and every pod says so.

    Pods that are going down still finish requests, and count until they are gone or have said so.
    """
    route = seen.route
    if route is not None and (route.entries is None or any(entry.predictor == address for entry in route.entries)):
        return False
    elsewhere = route is not None and any(entry.digest == digest for entry in route.entries or ())
    for pod in seen.pods:
        if not pod.running or (pod.answer is None and not pod.ready and not pod.deleting and pod.unready_s >= policy.unready_s):
            continue
        if pod.answer is None or (route is not None and pod.answer.revision != route.revision):
            return False
        # Without a route, and with no revision, it follows the user's own predictor, whose bundle this may be.
        if digest in pod.answer.applied and not elsewhere and (route is not None or pod.answer.revision):
            return False
    return True
