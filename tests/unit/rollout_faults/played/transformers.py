"""Transformers that count as real ones do: the pipeline alone, which would ask a predictor, is played."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from played.versions import BUNDLES

from penstock.batcher import BatchPolicy
from penstock.errors import PenstockError
from penstock.evidence.document import Evidence, Process
from penstock_operator.simulation.watched_cluster import MODEL
from penstock_transformer.counters import Counters
from penstock_transformer.evidence.backlog import Backlog
from penstock_transformer.evidence.keys import KeyWindow
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.requests import PredictResponse
from penstock_transformer.shadowing import Shadows
from penstock_transformer.work import CopiedWork


class Nobody:
    """Whom requests are answered to. `disconnected`: who has left."""

    disconnected = False

    def put(self, _response: PredictResponse) -> None:
        pass

    def error(self, _error: PenstockError) -> None:
        pass


class Copies:
    """In the pipeline's place, for copies: each comes to what the story says."""

    def __init__(self, answer: Callable[[CopiedWork], None]) -> None:
        self._answer = answer

    async def run(self, works: Sequence[CopiedWork]) -> None:
        for work in works:
            self._answer(work)


class Transformer:
    """A process that counts. `lies`: it tells zeros, whatever it has counted; `earlier`: it is of the release before, and knows
    no halves of bins; `sent`: live requests that it has got. `answer` says what a copy comes to."""

    def __init__(self, incarnation: str, now: float, answer: "Callable[[Transformer, CopiedWork], None]") -> None:
        self.incarnation, self.born = incarnation, now
        self.lies = False
        self.earlier = False
        self.answers = True
        self.sent = 0
        self.sums: dict[tuple[str, int, bool, str], Sums] = {}
        self._backlog = Backlog()
        self._window = KeyWindow()
        self.recorder = SimpleNamespace(window=self._window, shadows={})
        pipeline = cast(Any, Copies(lambda work: answer(self, work)))
        self.shadows = Shadows(pipeline, Counters(), BatchPolicy(max_queue_items=10_000), cast(Any, self.recorder))
        self.shadows._secret = incarnation.encode()[:8].ljust(8)

    async def settle(self) -> None:
        """All copies are answered, and all is counted."""
        batcher = self.shadows._batcher
        while batcher.queued_items or batcher.in_flight:  # noqa: ASYNC110 they are answered on this loop
            await asyncio.sleep(0)
        self._backlog.flush()

    def of(self, digest: str, revision: int, *, shadow: bool, anew: bool) -> Sums:
        key = digest, revision, shadow, ""
        if key not in self.sums:
            post = BUNDLES[digest].postprocessor
            counters: dict[str, Any] = {"outputs": {}, "features": {}, "spreads": {}}
            sticks = not (shadow or anew)
            self.sums[key] = Sums(key, "1", post, self._backlog, self._window, **counters, anew=anew, sticks=sticks)
        return self.sums[key]

    def forget(self) -> None:
        """Its counters are reset, in the same process."""
        self.sums = {}

    def told(self, now: float) -> Evidence:
        entries = [sums.told() for sums in self.sums.values()]
        if self.lies:
            entries = [type(one)(one.bundle, one.revision, one.shadow) for one in entries]
        for one in entries if self.earlier else ():
            one.latency.keys_upper, one.latency.keys_halved = [], 0
        return Evidence(MODEL, [Process(self.incarnation, now - self.born, entries)])
