"""The loop: whatever happens to a model, one look at that model, and what follows from it.

    watches --> caches --> queue of models --> look at the caches --nothing to do--> look again later
                                               |      \\--evidence--> kept, or written with new words
                                               \\--something--> look at the API server --> plan --> calls --> look again

Level-triggered: an event only says which model to look at. Models are worked on side by side, each by one task at a time.

Invariants: calls are decided on a look at the API server, never on a cache, but for what a trial has learnt: that is written on
the very status that it follows from, or not at all. Only the holder of the lease makes any calls.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from penstock_operator.apply import Outcome, carry_out
from penstock_operator.cache import Cache, CachedReader
from penstock_operator.cluster import (
    CONFIG_MAPS,
    INFERENCE_SERVICES,
    JOBS,
    MODEL_VERSIONS,
    PODS,
    SCALERS,
    Cluster,
    ClusterError,
    Object,
)  # fmt: skip
from penstock_operator.counters import Counters
from penstock_operator.desired import decide
from penstock_operator.looking import SERVICE_LABEL, Asker, Silence, look
from penstock_operator.plan import Plan
from penstock_operator.policy import Policy
from penstock_operator.refusals import noted
from penstock_operator.remembering import Remembered
from penstock_operator.route import LABEL as ROUTE_LABEL
from penstock_operator.route import route_name
from penstock_operator.seen import ObjectKey, Refusal, Seen
from penstock_operator.verification_job import MODEL_LABEL

log = logging.getLogger(__name__)

Model = tuple[str, str]
"""Namespace and name of the InferenceService that callers reach."""
_AT_ONCE = 8
_ROUNDS = 40
_IDLE_S = 60.0


class Controller:
    """All models of some namespaces (none named: all). `may_act` says whether this operator holds the lease."""

    def __init__(
        self,
        cluster: Cluster,
        asker: Asker,
        policy: Policy,
        *,
        namespaces: tuple[str, ...] = (),
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self.counters = Counters()
        self.caches: list[Cache] = []
        self._cluster = cluster
        self._asker = asker
        self._policy = policy
        self._may_act = may_act
        self._silence = Silence()
        self._remembered = Remembered()
        self._refused: dict[Model, Mapping[ObjectKey, Refusal]] = {}
        self._due: dict[Model, float] = {}
        self._heap: list[tuple[float, Model]] = []
        self._working: set[Model] = set()
        self._failures: dict[Model, int] = {}
        self._wake = asyncio.Event()
        self._readers: dict[str, CachedReader] = {}
        self._versions: list[Cache] = []
        self._models: dict[Model, set[str]] = {}
        for namespace in namespaces or (None,):
            self._add_caches(namespace)

    @property
    def synced(self) -> bool:
        """Whether every cache has had its first list."""
        return all(cache.synced.is_set() for cache in self.caches)

    @property
    def waiting(self) -> int:
        """Models whose time has come."""
        now = time.monotonic()
        return sum(at <= now for at in self._due.values())

    def versions(self) -> list[Object]:
        """Every ModelVersion that is known."""
        return [one for cache in self._versions for one in cache.objects.values()]

    def _add_caches(self, namespace: str | None) -> None:
        wanted = [
            (MODEL_VERSIONS, ""), (INFERENCE_SERVICES, ""), (CONFIG_MAPS, ROUTE_LABEL), (JOBS, MODEL_LABEL),
            (PODS, MODEL_LABEL), (PODS, SERVICE_LABEL), (PODS, ROUTE_LABEL),
        ]  # fmt: skip
        if self._policy.scales:
            wanted.append((SCALERS, MODEL_LABEL))
        caches = [
            Cache(self._cluster, kind, namespace, label, self._heard(kind, label), index=label or MODEL_LABEL)
            for kind, label in wanted
        ]
        self._readers[namespace or ""] = CachedReader(caches)
        self._versions.append(caches[0])
        self.caches += caches

    def _heard(self, kind: object, label: str) -> Callable[[Object], None]:
        def listener(document: Object) -> None:
            metadata = document["metadata"]
            namespace, labels = metadata.get("namespace", ""), metadata.get("labels") or {}
            if kind == MODEL_VERSIONS:
                self._hear_version(document)
                return
            if kind == INFERENCE_SERVICES:
                self._remembered.forget(metadata.get("uid", ""))
            names = {labels.get(MODEL_LABEL), labels.get(label) if label else metadata["name"]}
            for name in names:
                model = namespace, name or ""
                if name and kind == CONFIG_MAPS:
                    self._models.setdefault(model, set())
                if model in self._models:
                    self.soon(model)

        return listener

    def _hear_version(self, document: Object) -> None:
        namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
        model = namespace, str((document.get("spec") or {}).get("inferenceService", ""))
        if any((namespace, name) in cache.objects for cache in self._versions):
            self._models.setdefault(model, set()).add(name)
            if self._remembered.is_echo(document):
                return
        else:
            self._models.get(model, set()).discard(name)
            self._remembered.forget(document["metadata"].get("uid", ""))
        self.soon(model)

    def soon(self, model: Model, after_s: float = 0.0) -> None:
        """Look at a model in this time, or earlier if that was meant already."""
        at = time.monotonic() + after_s
        if at < self._due.get(model, float("inf")):
            self._due[model] = at
            heapq.heappush(self._heap, (at, model))
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled. A call that is under way is finished or given up by its own deadline."""
        async with asyncio.TaskGroup() as group:
            for cache in self.caches:
                group.create_task(cache.follow())
            for cache in self.caches:
                await cache.synced.wait()
            log.info("caches filled", extra={"models": len(self._models), "versions": len(self.versions())})
            while True:
                model = await self._next()
                self._working.add(model)
                group.create_task(self._work(model))

    def all_soon(self) -> None:
        """Look at everything: this operator has just got the lease."""
        self._remembered.clear()
        for model in list(self._models):
            self.soon(model)

    async def _work(self, model: Model) -> None:
        try:
            if not self._may_act():
                return
            began = time.monotonic()
            again_s = await self._turn(model)
            self.counters.turn(time.monotonic() - began)
            self._failures.pop(model, None)
            if self._is_known(model):
                self.soon(model, again_s)
        except ClusterError as error:
            self._failed(model, error)
        except Exception as error:
            # A model that the code cannot cope with must not keep the others from being looked at.
            log.error("a look at a model failed", exc_info=error, extra={"namespace": model[0], "model": model[1]})
            self._failed(model, ClusterError(type(error).__name__))
        finally:
            self._working.discard(model)
            self._wake.set()

    def _is_known(self, model: Model) -> bool:
        """Whether there is anything left to look after: a version, or a route, which outlives the versions of a user's own
        InferenceService."""
        name = route_name(model[1])
        if self._models.get(model) or any((model[0], name) in c.objects for c in self.caches if c.kind == CONFIG_MAPS):
            return True
        self._models.pop(model, None)
        self._refused.pop(model, None)
        self._silence.forget(*model)
        return False

    def _failed(self, model: Model, error: ClusterError) -> None:
        failures = self._failures[model] = self._failures.get(model, 0) + 1
        self.counters.failures += 1
        after_s = min(30.0, 0.25 * 2 ** min(failures, 7))
        log.warning("not done", extra={"namespace": model[0], "model": model[1], "reason": str(error)[:300], "again_s": after_s})
        self.soon(model, after_s)

    async def _next(self) -> Model:
        """The next model whose time has come and that nobody works on, once there is room for one more."""
        while True:
            now = time.monotonic()
            if len(self._working) < _AT_ONCE and (found := self._ready(now)) is not None:
                return found
            self._wake.clear()
            # Not a timeout, which cancels and raises: this is how most waits end.
            timer = asyncio.get_running_loop().call_later(max(0.0, self._next_at(now + _IDLE_S) - now), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    def _next_at(self, latest: float) -> float:
        """When the next model's time comes. What is being worked on wakes the loop when it is done."""
        if len(self._working) >= _AT_ONCE or not self._heap:
            return latest
        if self._heap[0][1] not in self._working:
            return self._heap[0][0]
        return min((at for at, model in self._heap if model not in self._working), default=latest)

    def _ready(self, now: float) -> Model | None:
        later: list[tuple[float, Model]] = []
        found = None
        while found is None and self._heap and self._heap[0][0] <= now:
            at, model = heapq.heappop(self._heap)
            if self._due.get(model) != at:
                continue  # it was meant earlier since, and is done
            if model in self._working:
                later.append((at, model))
            else:
                found = model
        for entry in later:
            heapq.heappush(self._heap, entry)
        if found is not None:
            del self._due[found]
        return found

    async def _turn(self, model: Model) -> float:
        """Everything there is to do for a model now. Gives the seconds after which to look again."""
        plan = await self._glance(model)
        for _ in range(_ROUNDS):
            if not (plan.operations or plan.ask) or not self._may_act():
                return plan.look_again_s
            plan, seen = await self._decided(model, self._cluster)
            outcome = await self._carry_out(plan, model, seen)
            if not plan.operations:
                return plan.look_again_s
            if plan.look_again_s > 0 and outcome.error is None and not _goes_on(plan):
                return min(plan.look_again_s, 1.0)
        log.warning("a model does not come to rest", extra={"namespace": model[0], "model": model[1]})
        return 5.0

    async def _glance(self, model: Model) -> Plan:
        """A look at the caches. What it adds to evidence is kept, or written if there are words about it; the plan has what is
        left to be done."""
        plan, seen = await self._decided(model, self._readers.get(model[0]) or self._readers[""])
        found = self._remembered.sorted_out(plan, seen)
        if found.words and not found.changes and self._may_act():
            self._remembered.expect(found.words, seen)
            outcome = await self._carry_out(replace(plan, operations=found.words), model, seen)
            if outcome.error is None:
                self._remembered.written(found.words, seen)
                return replace(plan, operations=())
        return replace(plan, operations=(*found.words, *found.changes))

    async def _carry_out(self, plan: Plan, model: Model, seen: Seen) -> Outcome:
        """Raises ClusterError if it ended for another reason than that something has changed, or a status was refused. Objects
        that were not taken are no failure: the rest of the model is looked at as often as ever."""
        began = time.monotonic()
        outcome = await carry_out(plan, self._cluster, self._may_act)
        self.counters.operations += outcome.done
        self.counters.refused += len(outcome.refused)
        now = seen.now + time.monotonic() - began
        self._refused[model] = noted(seen, plan, outcome, now)
        if outcome.error is not None and not outcome.stale:
            raise outcome.error
        return outcome

    async def _decided(self, model: Model, reader: Cluster | CachedReader) -> tuple[Plan, Seen]:
        names = sorted(self._models.get(model, ()))
        seen = await look(
            reader, self._asker, self._silence, *model, names, with_scalers=self._policy.scales,
            remembered=self._remembered, refused=self._refused.get(model),
        )  # fmt: skip
        return decide(seen, self._policy), seen


def _goes_on(plan: Plan) -> bool:
    """Whether the next look at once may find more to do: not after calls that something else has to answer first."""
    return any(operation.kind in (MODEL_VERSIONS, CONFIG_MAPS) for operation in plan.operations)
