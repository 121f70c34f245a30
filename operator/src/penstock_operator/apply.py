"""A plan's calls, one after the other, each passing a failpoint before and after.

    Plan --carry_out--> operator.call (failpoint) --> API server --> operator.called (failpoint, where something was changed)

A call that says that something has changed meanwhile ends the plan: what follows was decided on something else. The next look
sees what is there now. An InferenceService, a Job or an autoscaler that is not taken (a quota, a policy, KServe's webhook away or
silent) ends nothing: what follows does not need it, and a roll-back must not wait for it. The next look is told, so that a status
can say it. Nor does a status that is refused, as one may be whose spec a newer schema would not take: the other versions' are
written.

Behind an InferenceService or a Job that is not answered, or not by a word about itself (a webhook that is silent for 10 s), the
others are put off untried: each could take as long again, and what follows them would wait.

A test kills the program at every passage of the failpoints, counted, and looks at how it ends.
"""

import logging
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from penstock.failpoints import failpoint
from penstock_operator.cluster import INFERENCE_SERVICES, JOBS, SCALERS, Changed, Cluster, ClusterError, Missing, Refused
from penstock_operator.model_version import status_object
from penstock_operator.plan import Operation, Plan, Verb
from penstock_operator.seen import ObjectKey

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`done` calls went through. `error` ended the plan before its end, or refused a status; `stale`: because something had
    changed. `refused`: objects that were not taken, with why; the plan went on without them. `untried`: those that
    were put off for another one, with the error of that. `taken`: those that were."""

    done: int
    error: ClusterError | None = None
    refused: Mapping[ObjectKey, ClusterError] = field(default_factory=dict)
    untried: Mapping[ObjectKey, ClusterError] = field(default_factory=dict)
    taken: Set[ObjectKey] = frozenset()

    @property
    def stale(self) -> bool:
        return isinstance(self.error, Changed | Missing)


async def carry_out(plan: Plan, cluster: Cluster, may_act: Callable[[], bool] = lambda: True) -> Outcome:
    """Make the calls in order, until one fails or `may_act` says that another operator may act by now."""
    written: dict[tuple[str, str, str], tuple[str, str]] = {}
    refused: dict[ObjectKey, ClusterError] = {}
    untried: dict[ObjectKey, ClusterError] = {}
    taken: set[ObjectKey] = set()
    done, left, silence = 0, None, None

    def ended(error: ClusterError | None) -> Outcome:
        return Outcome(done, error, refused, untried, taken)

    for operation in plan.operations:
        key = operation.kind, operation.name
        if not may_act():
            return ended(Changed("this operator holds the lease no longer"))
        if silence is not None and _is_for_later(operation):
            untried[key] = silence
            continue
        failpoint("operator.call")
        try:
            await _call(operation, cluster, written)
        except (Changed, Missing) as error:
            if operation.verb not in (Verb.EVENT, Verb.EVICT):
                return ended(error)
            log.info("not done", extra=_fields(operation) | {"reason": str(error)})
            continue
        except ClusterError as error:
            if operation.verb is Verb.EVENT and isinstance(error, Refused):
                continue
            if _is_for_later(operation):
                refused[key] = error
                silence = None if isinstance(error, Refused) else error
            elif operation.verb is Verb.STATUS and isinstance(error, Refused):
                left = error
            else:
                return ended(error)
            log.warning("not taken", extra=_fields(operation) | {"reason": str(error)[:300]})
            continue
        failpoint("operator.called")
        log.info("called the API server", extra=_fields(operation))
        done += 1
        if _is_for_later(operation):
            taken.add(key)
    return ended(left)


def _is_for_later(operation: Operation) -> bool:
    """Whether the rest of a plan can be done without it. An API server that gives no answer may wait for a webhook; one that is
    away gives none to the next call either."""
    return operation.verb is Verb.APPLY and operation.kind in (INFERENCE_SERVICES, JOBS, SCALERS)


async def _call(operation: Operation, cluster: Cluster, written: dict[tuple[str, str, str], tuple[str, str]]) -> None:
    kind, namespace, name = operation.kind, operation.namespace, operation.name
    key = (kind.plural, namespace, name)
    # An earlier call of this plan has changed the object from the very state that was seen: that is no other's change.
    before, after = written.get(key, ("", ""))
    version = after if before and operation.resource_version == before else operation.resource_version
    document = dict(operation.document)
    result = None
    match operation.verb:
        case Verb.CREATE | Verb.EVENT:
            result = await cluster.create(kind, document)
        case Verb.APPLY:
            result = await cluster.apply(kind, _at(document, version))
        case Verb.STATUS:
            told = document if operation.status is None else document | {"status": status_object(operation.status)}
            result = await cluster.apply_status(kind, _at(told, version))
        case Verb.FINALIZERS:
            patch = {"metadata": {"finalizers": document["finalizers"], "resourceVersion": version}}
            result = await cluster.patch(kind, namespace, name, patch)
        case Verb.DELETE:
            await cluster.delete(kind, namespace, name, uid=operation.uid, resource_version=version)
        case Verb.EVICT:
            await cluster.evict(namespace, name, operation.uid)
    if result is not None and operation.resource_version:
        written[key] = operation.resource_version, result["metadata"]["resourceVersion"]


def _at(document: dict[str, object], version: str) -> dict[str, object]:
    if not version:
        return document
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return document | {"metadata": metadata | {"resourceVersion": version}}


def _fields(operation: Operation) -> dict[str, str]:
    return {
        "verb": operation.verb.value,
        "kind": operation.kind.kind,
        "namespace": operation.namespace,
        "object": operation.name,
    }
