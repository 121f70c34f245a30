"""A whole rollout: requests, transformers that count them, the operator's own loop, and a cluster in memory.

    requests --Shadows, Sums, KeyWindow, Pair (transformer)--> GET /evidence --Controller (operator)--> status, route --> requests

Time goes as the test says. What a request comes to is drawn by chance, from a fixed seed, where the pipeline would have run it.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from played.transformers import Nobody, Transformer
from played.versions import BUNDLES, NAMES, NEW, Versions

from penstock.dataplane import Context
from penstock.errors import DeadlineExceeded, Internal
from penstock_operator.cluster import MODEL_VERSIONS
from penstock_operator.controller import Controller
from penstock_operator.judgement import LOOK_S
from penstock_operator.ledger_text import read_ledger
from penstock_operator.simulation.memory_cluster import MemoryCluster
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE, Died
from penstock_operator.simulation.world import World
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.requests import PredictRequest
from penstock_transformer.routing import Route, Target, assign
from penstock_transformer.work import CopiedWork, PredictWork

MEDIAN_S, SPREAD = 0.02, 0.4
_ON_TIME, _LATE = np.array([[0.8, 0.2]], np.float32), np.array([[0.2, 0.8]], np.float32)


class Story:
    """A version on trial beside another. `rate`: requests a second, each with a key of its own, or that of one of `callers`; but
    for the part of `loud`, whose one caller comes to version `loud_at` and fails if `loud_fails`. `deadline_s`: the time that
    callers give a request; `leaving`: the part of requests that they do not wait for."""

    def __init__(self, rollout: dict[str, Any]) -> None:
        self.world = World()
        self.versions = Versions()
        self.rate, self.loud, self.loud_at, self.loud_fails = 80.0, 0.0, NEW, False
        self.callers, self.deadline_s, self.leaving = 0, math.inf, 0.0
        self.moment = self.world.now
        """That of the request on its way: the clock of the transformers."""
        self.now_error_s = 0.0
        """What the operator's clock is ahead."""
        self.late = 0
        """How many looks old is what its watches have told it."""
        self.transformers = [self.started(name, -3600.0) for name in ("one", "two")]
        self.weights: list[int] = []
        self.operator = self.new_operator()
        self._kept: deque[MemoryCluster] = deque()
        self.before_look: Callable[[], None] = lambda: None
        self._random = random.Random(8)
        self._latencies = np.random.default_rng(8)
        self._requests = 0
        self._copied: dict[str, tuple[float, float, float, bool]] = {}
        self._runner = asyncio.Runner()
        self._rollout = {"steps": [50, 100], "margins": {"latencyP99": 1.5}, **rollout}

    async def begin(self, *, former: bool) -> None:
        for name in sorted(NAMES)[not former :]:
            self.world.add_version(name, NAMES[name], rollout=self._rollout if name == "flights-2" else {"strategy": "immediate"})
            await self.settle()

    # --- what goes wrong

    def started(self, incarnation: str, ago_s: float = 0.0) -> Transformer:
        return Transformer(incarnation, self.world.now + ago_s, self._answer_copy)

    def new_operator(self) -> Controller:
        """Another process: it remembers nothing."""
        found = Controller(self.world.cluster, self.world, self.world.policy)
        found._models[NAMESPACE, MODEL] = set(NAMES)
        return found

    def late_from_now(self, looks: int) -> None:
        """Watches stop for so many looks, and are so late from then on."""
        self.late = looks
        self._kept.clear()

    # --- time

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """So many seconds of requests, and the operator's looks meanwhile; or until something is so."""
        self._runner.run(self._run(seconds, until))

    def close(self) -> None:
        """The story is over."""
        self._runner.close()

    async def _run(self, seconds: float, until: Callable[[], bool]) -> None:
        for _ in range(round(seconds / LOOK_S)):
            if until():
                return
            self._send(LOOK_S)
            for transformer in self.transformers:
                await transformer.settle()
            self.world.now += LOOK_S
            await self.settle()

    async def settle(self) -> None:
        """Let the operator and the cluster move until nothing does."""
        world = self.world
        world.told = [one.told(world.now) for one in self.transformers if one.answers]
        for _ in range(200):
            calls = world.calls
            await self.look()
            moved = [world.run_jobs(), world.make_pods(), world.apply_route(), world.collect()]
            if world.calls == calls and not any(moved):
                break
        else:
            raise AssertionError("it does not come to rest")
        self.weights.append(self.status.get("weight", 0))

    async def look(self) -> None:
        """The operator's turn; one that dies in it is followed by another."""
        self.before_look()
        self._kept.append(self.world.keep_cache())
        while len(self._kept) > self.late + 1:
            self._kept.popleft()
        cast(Any, self.operator)._readers[""] = self._kept[0]
        try:
            await self.operator._turn((NAMESPACE, MODEL))
        except Died:
            self.operator = self.new_operator()

    def _send(self, seconds: float) -> None:
        told = {NAMES[name]: given for name, given in self.world.route().items()}
        live = {digest: weight for digest, (weight, fraction) in told.items() if fraction is None}
        shadows = {digest: fraction for digest, (_, fraction) in told.items() if fraction is not None}
        count, revision = int(seconds * self.rate), self.world.route_revision()
        route = Route(
            revision,
            tuple(Target(BUNDLES[digest], weight) for digest, weight in live.items()),
            tuple(Target(BUNDLES[digest], fraction=fraction) for digest, fraction in shadows.items()),
        )
        anew = bool(shadows) and sum(weight > 0 for weight in live.values()) == 1
        for transformer in self.transformers:
            copied = {BUNDLES[one]: transformer.of(one, revision, shadow=True, anew=anew) for one in shadows}
            transformer.recorder.shadows = copied
        took = MEDIAN_S * np.exp(SPREAD * self._latencies.standard_normal((count, 2)))
        for at in range(count):
            self._requests += 1
            now = self.moment = self.world.now + seconds * at / count
            transformer = self.transformers[at % len(self.transformers)]
            work = self._work(now)
            if work.context.route_key == "loud":
                digest, failed = self.loud_at if live.get(self.loud_at) else next(iter(live)), self.loud_fails
            else:
                digest, failed = assign(route, work.request)[0].digest, False
            transformer.sent += 1
            if shadows:
                fraction = next(iter(shadows.values()))
                self._copied[work.context.request_id] = now, took[at][1], fraction, failed
                transformer.shadows.copy(route, [work])
            took_s = took[at][0] * (self.versions.slower_alone if live.get(NEW) == 100 else 1.0)
            took_s *= self.versions.slowness(digest, now, live[digest] / 100)
            failed = failed or self._fails(digest, alone=live.get(NEW) == 100)
            self._answer(transformer.of(digest, revision, shadow=False, anew=anew), work, failed, now, took_s, self.deadline_s)

    def _work(self, now: float) -> PredictWork:
        """A request of somebody."""
        if self._random.random() < self.loud:
            key = "loud"
        else:
            key = f"caller {self._random.randrange(self.callers)}" if self.callers else str(self._requests)
        deadline = now + self.deadline_s if self.deadline_s < math.inf else None
        return PredictWork(PredictRequest("flights", Context(str(self._requests), deadline, route_key=key), rows=[{}]), Nobody())

    def _fails(self, digest: str, *, alone: bool) -> bool:
        part = self.versions.failing[digest]
        if digest == NEW and alone:
            part = max(part, self.versions.failing_alone)
        return self._random.random() < part

    def _answer_copy(self, transformer: Transformer, work: CopiedWork) -> None:
        bundle, allowed_s = work.bundle, math.inf if work.allowed_s is None else work.allowed_s
        assert bundle is not None
        now, took_s, fraction, failed = self._copied.pop(work.context.request_id.removesuffix("-shadow"))
        took_s *= self.versions.slowness(bundle.digest, now, fraction) * self.versions.copied
        failed = failed or self._fails(bundle.digest, alone=False)
        self._answer(transformer.recorder.shadows[bundle], work, failed, now, took_s, allowed_s)

    def _answer(self, sums: Sums, work: PredictWork, failed: bool, now: float, took_s: float, allowed_s: float) -> None:
        if not work.copied and self._random.random() < self.leaving:
            sums.failed([work], now, took_s)
        elif failed or took_s > allowed_s:
            work.error(Internal("as the story wants it") if failed else DeadlineExceeded("too late"))
            sums.failed([work], now, min(took_s, allowed_s))
        else:
            work.put(cast(Any, None))
            late = self.versions.swapped and sums.bundle == NEW
            sums.answered([work], [0, 1], (now, took_s, took_s), {"y": _LATE if late else _ON_TIME}, None)

    # --- what is so now

    @property
    def status(self) -> dict[str, Any]:
        return self.world.status("flights-2")

    @property
    def phase(self) -> str:
        return str(self.status["phase"])

    @property
    def sent(self) -> int:
        """Live requests that the transformers which are there have got."""
        return sum(one.sent for one in self.transformers)

    def caught_up(self) -> bool:
        """Whether all that was sent is counted, once: run until it is so, for looks come half a minute apart at most."""
        return self.learnt() == self.sent

    @property
    def message(self) -> str:
        return str(self.status.get("message", ""))

    def is_over(self) -> bool:
        return self.phase in ("Live", "RolledBack")

    def written(self) -> int:
        """Live requests of both versions that the status remembers; 0 once the trial is over."""
        return requests_of(self.status["evidence"])

    def learnt(self) -> int:
        """Those that the operator's next look goes on from."""
        document = self.world.cluster.objects[MODEL_VERSIONS.plural, NAMESPACE, "flights-2"]
        version = self.operator._remembered.read(document)
        assert version is not None
        return requests_of(version.status.evidence)


def requests_of(evidence: dict[str, Any]) -> int:
    return sum(entry.requests for entry in read_ledger(evidence.get("ledger", "")).totals if not entry.shadow)
