"""The evidence of a request that passes through: the model's own tensors, in no batch of ours.

    pass_on --PassingReply.put | error--> Passed --> Sums

It stands for a work of the pipeline, which such a request never becomes. Invariant: it is counted once, when the caller is
answered for good; a first try that another bundle takes over says nothing.
"""

import time

from penstock.dataplane import InferRequest, InferResponse
from penstock.errors import PenstockError
from penstock.tensors import Array
from penstock_transformer.evidence.pairs import Pair
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.requests import PredictRequest
from penstock_transformer.work import PredictWork


class Passed:
    """One request on its way to the predictor of one bundle. `probe` is the same as the route saw it; `window` as of its work."""

    __slots__ = ("_began_s", "_sums", "_work")

    def __init__(
        self,
        sums: Sums,
        request: InferRequest,
        probe: PredictRequest,
        pairs: list[Pair] | None = None,
        window: int | None = None,
    ) -> None:
        self._sums = sums
        self._work = work = PredictWork(probe, _NOBODY)
        inputs = request.inputs
        work.rows = inputs[0].shape[0] if inputs and inputs[0].shape else 0
        work.pairs = pairs
        work.window = window
        self._began_s = time.monotonic()

    def answered(self, response: InferResponse) -> None:
        """The predictor's answer is the caller's."""
        work, now_s = self._work, time.monotonic()
        work.waiting = False
        took_s = now_s - self._began_s
        outputs: dict[str, Array] = {}
        # Reading a tensor costs more than counting the request: not for a model whose outputs have no bins.
        if self._sums.outputs or work.pairs:
            source = self._sums.postprocessor.source
            for tensor in response.outputs:
                if tensor.name == source and tensor.datatype != "BYTES":
                    outputs[source] = tensor.array
        self._sums.answered((work,), (0, work.rows), (now_s, took_s, took_s), outputs, None)

    def failed(self, error: PenstockError) -> None:
        """The caller got this error."""
        now_s = time.monotonic()
        self._work.error(error)
        self._sums.failed((self._work,), now_s, now_s - self._began_s)


class _Nobody:
    """Whom a stand-in answers."""

    disconnected = False

    def put(self, _response: object) -> None:
        """Nobody hears it."""

    def error(self, _error: PenstockError) -> None:
        """Nobody hears it."""


_NOBODY = _Nobody()
