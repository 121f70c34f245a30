"""Shadows: bundles that get copies of requests, whose failure or slowness never reaches a caller.

a batch that begins --copies--> bounded queue --one batch at a time--> the same pipeline --> counted, thrown away
request that passes through --copy--> the shadow's predictor, so many at once and no more --> counted, thrown away

Invariant: what is counted of copies is counted as it is of requests, or the two could not be compared: by the same keys, in the
same windows, under the same deadlines; and of a key's requests in a window all are copied, or none. Where there is no room for a
copy that holds no more, and what is missing has to do with how the shadow fares. So from then on no key is counted until the
window is over, neither of requests nor of copies: up to then both have all.

Which keys are copied is drawn anew in each window, by a secret of the process, so that no caller can have itself copied, or not.
Every process draws for itself, as each counts keys for itself: a caller who makes most of the requests comes to a shadow from a
part of the transformers, and not from all of them in the same minute.
"""

import secrets
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from penstock.batcher import Batcher, BatchPolicy
from penstock.dataplane import Context, InferRequest, InferResponse
from penstock.errors import Overloaded, PenstockError
from penstock_transformer.active import ActiveBundle
from penstock_transformer.counters import Counters
from penstock_transformer.evidence.keys import NO_WINDOW
from penstock_transformer.evidence.pairs import Pair
from penstock_transformer.evidence.passed import Passed
from penstock_transformer.evidence.recorder import Recorder
from penstock_transformer.passing import pass_on
from penstock_transformer.pipeline import Pipeline
from penstock_transformer.requests import PredictRequest, PredictResponse
from penstock_transformer.routing import Route, copies, unit_of
from penstock_transformer.work import CopiedWork, PredictWork


class ShadowReply:
    """Where a shadow's answer goes: nowhere; failures are counted. While a copy waits its bundle is in use: a route that leaves
    it behind meanwhile must not make it one."""

    __slots__ = ("_bundle", "_counters")

    disconnected = False

    def __init__(self, counters: Counters, bundle: ActiveBundle) -> None:
        self._counters = counters
        self._bundle = bundle
        bundle.use()

    def put(self, _response: PredictResponse) -> None:
        self._bundle.release()

    def error(self, error: PenstockError) -> None:
        self._bundle.release()
        if isinstance(error, Overloaded):
            self._counters.shadow_dropped += 1
        else:
            self._counters.shadow_errors += 1


class PassedCopy:
    """Where the predictor's answer to a copy goes. Gives back the room that the copy took."""

    __slots__ = ("_nbytes", "_shadows", "disconnected")

    def __init__(self, shadows: "Shadows", nbytes: int) -> None:
        self._shadows = shadows
        self._nbytes = nbytes
        self.disconnected = False

    def put(self, _response: InferResponse) -> None:
        self._shadows.passed(self, self._nbytes, None)

    def error(self, error: PenstockError) -> None:
        self._shadows.passed(self, self._nbytes, error)


class Shadows:
    """The queue of copies. It is the pipeline's own, so that copies share nothing with live requests but the processor."""

    def __init__(self, pipeline: Pipeline, counters: Counters, policy: BatchPolicy, recorder: Recorder) -> None:
        self._pipeline = pipeline
        self._counters = counters
        self._recorder = recorder
        self._policy = policy
        self._passing: set[PassedCopy] = set()
        self._passing_bytes = 0
        self._secret = secrets.token_bytes(8)
        self._closed = NO_WINDOW
        self._batcher: Batcher[CopiedWork, None] = Batcher(self._run, _delivered, policy, coroutine=True)

    def copy(self, route: Route, works: Sequence[PredictWork]) -> None:
        """A batch of requests begins: send copies to the route's shadows, as far as there is room. The works know then what
        compares their answers, and in which window their keys count."""
        now_s = time.monotonic()
        window = self._recorder.window.at(now_s)
        salt = self._salt(window)
        for work in works:
            if work.counted:
                continue
            unit = unit_of(route, work.request)
            work.window = self._counting(window, work.nbytes)
            for bundle in copies(route, work.request, unit, salt):
                self._counters.shadow_copies += 1
                queue = self._batcher
                full = queue.queued_items >= self._policy.max_queue_items
                if full or queue.queued_bytes + work.nbytes > self._policy.max_queue_bytes:
                    work.window = self._dropped(unit, window, work.nbytes)
                    continue
                pair = self._pair(bundle)
                if pair is not None:
                    work.pairs = [*(work.pairs or ()), pair]
                queue.submit(self._copied(work, bundle, pair, unit, now_s))

    def copy_passed(self, route: Route, request: InferRequest, probe: PredictRequest, *, encoded: bool) -> tuple[list[Pair], int]:
        """Send copies of a request that passes through, as far as there is room; what compares their answers with the caller's,
        and the window in which its key counts. `probe` is the same as the route sees it.

        A bundle with features gets only what is encoded: the tensors are then its model's, or it refuses them, which is counted.
        """
        nbytes = sum(tensor.nbytes for tensor in request.inputs)
        window = self._recorder.window.at(time.monotonic())
        unit = unit_of(route, probe)
        counting = self._counting(window, nbytes)
        pairs: list[Pair] = []
        for bundle in copies(route, probe, unit, self._salt(window)):
            if bundle.plan is not None and not encoded:
                continue
            self._counters.shadow_copies += 1
            full = len(self._passing) >= self._policy.max_queue_items
            if full or self._passing_bytes + nbytes > self._policy.max_queue_bytes:
                counting = self._dropped(unit, window, nbytes)
                continue
            copied = InferRequest(
                request.model, request.inputs, _context(request.context), outputs=request.outputs, parameters=request.parameters
            )
            # It waits for nothing here, as its request does not: the same moment ends both.
            copied.context.deadline = request.context.deadline
            reply = PassedCopy(self, nbytes)
            self._passing.add(reply)
            self._passing_bytes += nbytes
            pair = self._pair(bundle)
            if pair is not None:
                pairs.append(pair)
            sums = self._recorder.shadows.get(bundle)
            seen = PredictRequest(copied.model, copied.context)
            passed = Passed(sums, copied, seen, [pair] if pair is not None else None, counting) if sums is not None else None
            pass_on(copied, reply, bundle, None, passed=passed)
        return pairs, counting

    def passed(self, copy: PassedCopy, nbytes: int, error: PenstockError | None) -> None:
        """A copy has its answer."""
        self._passing.discard(copy)
        self._passing_bytes -= nbytes
        if isinstance(error, Overloaded):
            self._counters.shadow_dropped += 1
        elif error is not None:
            self._counters.shadow_errors += 1

    async def close(self) -> None:
        """Drop what waits; a copy is not worth waiting for."""
        for copy in self._passing:
            copy.disconnected = True
        self._batcher.close()

    def _run(self, works: list[CopiedWork]) -> Coroutine[Any, Any, None]:
        now_s = time.monotonic()
        for work in works:
            work.begin(now_s)
        return self._pipeline.run(works)

    def _copied(self, work: PredictWork, bundle: ActiveBundle, pair: Pair | None, unit: bytes | None, now_s: float) -> CopiedWork:
        request, deadline = work.request, work.context.deadline
        copied = CopiedWork(
            PredictRequest(
                request.model,
                _context(request.context),
                rows=request.rows,
                columns=request.columns,
                options=request.options,
                record_id=request.record_id,
            ),
            ShadowReply(self._counters, bundle),
            bundle=bundle,
            allowed_s=None if deadline is None else deadline - now_s,
        )
        copied.nbytes, copied.sticky, copied.window = work.nbytes, unit, work.window
        copied.pairs = [pair] if pair is not None else None
        return copied

    def _pair(self, bundle: ActiveBundle) -> Pair | None:
        sums = self._recorder.shadows.get(bundle)
        return Pair(sums.paired) if sums is not None and sums.paired is not None else None

    def _salt(self, window: int) -> bytes:
        return self._secret + window.to_bytes(8, "little", signed=True)

    def _counting(self, window: int, nbytes: int) -> int:
        """The window in which a request's key counts. What could never be copied does not count, be it drawn or not."""
        return NO_WINDOW if self._closed == window or nbytes > self._policy.max_queue_bytes else window

    def _dropped(self, unit: bytes | None, window: int, nbytes: int) -> int:
        """A copy has no room. Requests without a key are units of their own: one less is missed by nobody."""
        self._counters.shadow_dropped += 1
        if unit and nbytes <= self._policy.max_queue_bytes:
            self._closed = window
        return self._counting(window, nbytes)


def _context(given: Context) -> Context:
    """What a copy takes of its request's: what it is counted and traced by."""
    return Context(f"{given.request_id}-shadow", traceparent=given.traceparent, route_key=given.route_key)


def _delivered(_works: list[CopiedWork], _result: None) -> None:
    return
