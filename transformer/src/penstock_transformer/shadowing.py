"""Shadows: bundles that get copies of requests, whose failure or slowness never reaches a caller.

request --copy--> bounded queue --one batch at a time--> the same pipeline --> counted, thrown away
request that passes through --copy--> the shadow's predictor, so many at once and no more --> counted, thrown away
"""

from collections.abc import Sequence

from penstock.batcher import Batcher, BatchPolicy
from penstock.dataplane import Context, InferRequest, InferResponse
from penstock.errors import Overloaded, PenstockError
from penstock_transformer.active import ActiveBundle
from penstock_transformer.counters import Counters
from penstock_transformer.evidence.pairs import Pair
from penstock_transformer.evidence.passed import Passed
from penstock_transformer.evidence.recorder import Recorder
from penstock_transformer.passing import pass_on
from penstock_transformer.pipeline import Pipeline
from penstock_transformer.requests import PredictRequest, PredictResponse
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
        self._counters = counters
        self._recorder = recorder
        self._policy = policy
        self._passing: set[PassedCopy] = set()
        self._passing_bytes = 0
        self._batcher: Batcher[PredictWork, None] = Batcher(pipeline.run, _delivered, policy, coroutine=True)

    def copy(self, request: PredictRequest, bundle: ActiveBundle) -> Pair | None:
        """Send a copy of a request to a shadow bundle, if there is room; what compares its answer with the caller's."""
        self._counters.shadow_copies += 1
        given = request.context
        copied = PredictRequest(
            request.model,
            Context(f"{given.request_id}-shadow", traceparent=given.traceparent),
            rows=request.rows,
            columns=request.columns,
            record_id=request.record_id,
        )
        work = CopiedWork(copied, ShadowReply(self._counters, bundle), tensors_only=True, bundle=bundle)
        pair = self._pair(bundle)
        work.pairs = [pair] if pair is not None else None
        self._batcher.submit(work)
        return pair

    def copy_passed(self, request: InferRequest, bundles: Sequence[ActiveBundle], *, encoded: bool) -> list[Pair]:
        """Send copies of a request that passes through, as far as there is room; what compares their answers with the caller's.

        A bundle with features gets only what is encoded: the tensors are then its model's, or it refuses them, which is counted.
        """
        nbytes = sum(tensor.nbytes for tensor in request.inputs)
        pairs: list[Pair] = []
        for bundle in bundles:
            if bundle.plan is not None and not encoded:
                continue
            self._counters.shadow_copies += 1
            full = len(self._passing) >= self._policy.max_queue_items
            if full or self._passing_bytes + nbytes > self._policy.max_queue_bytes:
                self._counters.shadow_dropped += 1
                continue
            given = request.context
            copied = InferRequest(
                request.model,
                request.inputs,
                Context(f"{given.request_id}-shadow", traceparent=given.traceparent),
                outputs=request.outputs,
                parameters=request.parameters,
            )
            reply = PassedCopy(self, nbytes)
            self._passing.add(reply)
            self._passing_bytes += nbytes
            pair = self._pair(bundle)
            if pair is not None:
                pairs.append(pair)
            sums = self._recorder.shadows.get(bundle)
            probe = PredictRequest(copied.model, copied.context)
            passed = Passed(sums, copied, probe, [pair] if pair is not None else None) if sums is not None else None
            pass_on(copied, reply, bundle, None, passed=passed)
        return pairs

    def _pair(self, bundle: ActiveBundle) -> Pair | None:
        sums = self._recorder.shadows.get(bundle)
        return Pair(sums.paired) if sums is not None and sums.paired is not None else None

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


def _delivered(_works: list[PredictWork], _result: None) -> None:
    return
