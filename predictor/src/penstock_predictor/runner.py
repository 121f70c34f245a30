"""Runs a batch of works on the session and gives each caller its own rows.

    works -> one array an input (one join of bytes) -> session.run -> one tensor an output -> rows of it, a caller

`run` is called on the event loop for cheap batches and on the batcher's thread for dear ones; `deliver` always on the loop. If a
shared run fails, each work is run again by itself: what one caller sent then fails that caller alone. If memory runs out, runs
get smaller, until a single row does not fit; then its caller is told so, and nobody else.
"""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from penstock.batcher.work import fail, untraced
from penstock.dataplane import InferResponse, TensorMetadata
from penstock.errors import Internal, PenstockError
from penstock.onnx import Session
from penstock.onnx.arena import Usual
from penstock.onnx.binding import BoundRun
from penstock.onnx.exhaustion import OutOfMemory
from penstock.onnx.staging import Staging
from penstock.tensors import DATATYPES, Array, Tensor
from penstock_predictor.axes import BatchRule, Sharing, tails_vary
from penstock_predictor.work import Work

log = logging.getLogger(__name__)

_SMALL_RUNS = 500


class Outcome:
    """What a run gave: `shared` outputs by name, to be sliced in the works' order; or, if `each` is set, one result a work."""

    __slots__ = ("each", "shared")

    def __init__(self, shared: dict[str, Tensor] | None, each: list[list[Tensor] | PenstockError] | None = None) -> None:
        self.shared = shared
        self.each = each


class Runner:
    """Runs works of one model, one thread at a time. `max_rows` bounds one run of a model whose rows are independent: larger
    requests take several; it falls while memory is short. `one_row` is a cheaper way to run a single row, if there is one."""

    def __init__(
        self,
        session: Session,
        rule: BatchRule,
        max_rows: int,
        *,
        model: str,
        version: str,
        bundle: str,
        one_row: BoundRun | None = None,
        staging: Staging | None = None,
    ) -> None:
        self._session: Session | Staging = staging or session
        self._one_row = one_row
        self._fixed = rule.sharing is Sharing.FIXED
        self.max_rows = self._most_rows = rule.size or max_rows
        self._small_runs = 0
        self._inputs = session.inputs
        self._names = [tensor.name for tensor in session.outputs]
        self._model = model
        self._version = version
        self._bundle = bundle
        # What is computed now, for the gauges: one reference a batch, counted only when somebody looks.
        self.running: Sequence[Work] = ()
        # Shapes that callers choose decide what a run takes; of all other models the load has seen the most.
        self._usual = Usual() if rule.sharing is Sharing.ALONE or tails_vary(session.inputs) else None

    def run(self, works: list[Work]) -> Outcome:
        """Run works that may share a run (or one work). Never raises for what a caller sent."""
        self.running = works
        if len(works) == 1:
            return self._each(works)
        try:
            names = self._wanted(works)
            rows = sum([work.rows for work in works])
            outputs = self._run_rows(self._feeds(works, rows), names, rows, self._giant(works))
            if all(array.shape[:1] == (rows,) for array in outputs):
                return Outcome({name: Tensor.from_array(name, array) for name, array in zip(names, outputs, strict=True)})
            log.error("batch came back with other rows than it had", extra={"model": self._model, "batch_size": rows})
        except Exception as error:
            log.warning("batch failed, running singly", extra={"model": self._model, "works": len(works), "reason": str(error)})
        return self._each(works)

    def deliver(self, works: list[Work], outcome: Outcome) -> Iterator[None] | None:
        """Answer each work, those of a shared run one at each step of the iterator. A caller whose answer cannot be written does
        not keep the others from theirs."""
        if self.running is works:
            self.running = ()
        if outcome.shared is not None:
            return self._deliver_shared(works, outcome.shared)
        for work, result in zip(works, outcome.each or (), strict=True):
            if isinstance(result, PenstockError):
                fail(work, result)
            else:
                self._put(work, result)
        return None

    def _deliver_shared(self, works: list[Work], shared: dict[str, Tensor]) -> Iterator[None]:
        start = 0
        everything = [shared[name] for name in self._names if name in shared]
        only = everything[0] if len(everything) == 1 else None
        for work in works:
            stop = start + work.rows
            if only is not None:
                tensors = [only.rows(start, stop)]
            elif work.outputs is None:
                tensors = [tensor.rows(start, stop) for tensor in everything]
            else:
                tensors = [shared[name].rows(start, stop) for name in work.outputs]
            start = stop
            self._put(work, tensors)
            yield

    def _put(self, work: Work, tensors: list[Tensor]) -> None:
        try:
            work.reply.put(InferResponse(self._model, tensors, bundle=self._bundle, version=self._version))
        except Exception:
            log.exception("answer failed", extra={"model": self._model, "request_id": work.context.request_id})
            fail(work, Internal("the answer could not be written"))

    def _each(self, works: list[Work]) -> Outcome:
        results: list[list[Tensor] | PenstockError] = []
        for work in works:
            try:
                results.append(self._single(work))
            except PenstockError as error:
                results.append(untraced(error))
            except Exception:
                log.exception("run failed", extra={"model": self._model, "request_id": work.context.request_id})
                results.append(Internal("the model's run failed"))
        return Outcome(None, results)

    def _single(self, work: Work) -> list[Tensor]:
        names = self._names if work.outputs is None else work.outputs
        feeds = self._feeds([work], work.rows)
        shrink = self._giant([work])
        if work.sliced:
            outputs = self._run_rows(feeds, names, work.rows, shrink)
        else:
            outputs = self._session.run(feeds, names, shrink=shrink)
        return [Tensor.from_array(name, array) for name, array in zip(names, outputs, strict=True)]

    def _wanted(self, works: list[Work]) -> Sequence[str]:
        """All outputs that any of the works asks for, each once."""
        if any(work.outputs is None for work in works):
            return self._names
        return tuple(dict.fromkeys([name for work in works for name in work.outputs or ()]))

    def _feeds(self, works: list[Work], rows: int) -> dict[str, Array]:
        return {tensor.name: _stack(tensor, index, works, rows) for index, tensor in enumerate(self._inputs)}

    def _giant(self, works: list[Work]) -> bool:
        return self._usual is not None and self._usual.exceeded(sum([work.nbytes for work in works]))

    def _run_rows(self, feeds: dict[str, Array], names: Sequence[str], rows: int, shrink: bool) -> list[Array]:
        """Run any number of rows of a model whose rows are independent: in parts, padded where the model has a fixed size, and in
        ever smaller ones if the device's memory does not hold them."""
        if rows == 1 and self._one_row is not None and names is self._names:
            try:
                return self._one_row.run(feeds)
            except Exception:
                # The plain run that follows says what was wrong.
                log.debug("bound run failed", extra={"model": self._model})
        while True:
            size = self.max_rows
            try:
                return self._run_in_parts(feeds, names, rows, size, shrink)
            except OutOfMemory:
                self.max_rows = (min(rows, size) + 1) // 2
                if self._fixed or min(rows, size) < 2:
                    self.max_rows = size
                    raise
                # What the arena holds in pieces may be what the smaller run lacks whole.
                shrink = True
                log.warning("batches made smaller: out of memory", extra={"model": self._model, "max_rows": self.max_rows})

    def _run_in_parts(self, feeds: dict[str, Array], names: Sequence[str], rows: int, size: int, shrink: bool) -> list[Array]:
        if rows == size or (rows < size and not self._fixed):
            return self._session.run(feeds, names, shrink=shrink)
        parts = [self._session.run(part, names, shrink=shrink) for part in self._parts(feeds, rows, size)]
        if size < self._most_rows:
            self._grow_again()
        return [np.concatenate(arrays)[:rows] for arrays in zip(*parts, strict=True)]

    def _grow_again(self) -> None:
        """What was short a while ago need not be now: after many runs in small parts, try larger ones."""
        self._small_runs += 1
        if self._small_runs >= _SMALL_RUNS:
            self._small_runs = 0
            self.max_rows = min(2 * self.max_rows, self._most_rows)

    def _parts(self, feeds: dict[str, Array], rows: int, size: int) -> Iterator[dict[str, Array]]:
        for start in range(0, rows, size):
            part = {name: array[start : start + size] for name, array in feeds.items()}
            missing = start + size - rows
            if self._fixed and missing > 0:
                # With the last row again, not zeros: it is a value that the model is known to take.
                part = {name: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) for name, array in part.items()}
            yield part


def _stack(tensor: TensorMetadata, index: int, works: list[Work], rows: int) -> Array:
    """One input of all works as one array, in the works' order."""
    if tensor.datatype == "BYTES":
        texts = [work.text[index] for work in works if work.text is not None]
        return texts[0] if len(texts) == 1 else np.concatenate(texts)
    if len(works) == 1:
        array = works[0].inputs[index].array
        # Bytes of a body start anywhere; ONNX Runtime wants elements aligned.
        array = array if array.flags.aligned else array.copy()
    else:
        joined = b"".join([work.inputs[index].raw for work in works])
        array = np.frombuffer(joined, DATATYPES[tensor.datatype].dtype)
        array = array.reshape(rows, *works[0].inputs[index].shape[1:])
    # Any other byte than 0 and 1 is not a bool to C++.
    return array.view(np.uint8) != 0 if tensor.datatype == "BOOL" else array
