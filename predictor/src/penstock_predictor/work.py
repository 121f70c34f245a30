"""A request on its way through a model's queue: checked against the signature once a form, then only carried.

    InferRequest -> Plans.take() -> Work -> batcher -> Runner -> Reply

Callers send the same few shapes again and again, so what follows from names, datatypes and shapes is worked out once and kept as
a Plan. What a plan does not cover, the text of strings, is checked here too, before the request can meet anybody else's: a bad
tensor fails its own caller and never reaches a batch.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import msgspec

from penstock.dataplane import Context, InferRequest, Reply, TensorMetadata
from penstock.errors import InvalidInput, PenstockError
from penstock.onnx.session import fits
from penstock.tensors import DATATYPES, Array, Tensor
from penstock_predictor.axes import BatchRule, Sharing

_MAX_PLANS = 1024


class Plan:
    """What follows from a request's form alone.

    `order` puts the caller's inputs into the model's order, None if they are in it. `outputs` are the names asked for, None for
    all. `key` is what requests must have in common to share a run, None for never. `sliced`: outputs have a row a request row.
    """

    __slots__ = ("key", "nbytes", "order", "outputs", "rows", "sliced", "text")

    def __init__(
        self,
        rows: int,
        nbytes: int,
        key: Hashable | None,
        order: tuple[int, ...] | None,
        outputs: tuple[str, ...] | None,
        text: tuple[int, ...],
        sliced: bool,
    ) -> None:
        self.rows = rows
        self.nbytes = nbytes
        self.key = key
        self.order = order
        self.outputs = outputs
        self.text = text
        self.sliced = sliced


class Work(msgspec.Struct, eq=False):
    """One request as the batcher sees it. `inputs` are in the model's order; `text` holds the arrays of string inputs; the rest
    is what its plan says."""

    context: Context
    reply: Reply
    inputs: Sequence[Tensor]
    rows: int
    nbytes: int
    key: Hashable | None
    outputs: tuple[str, ...] | None
    sliced: bool
    bundle: str
    text: dict[int, Array] | None = None

    @property
    def disconnected(self) -> bool:
        return self.reply.disconnected

    def error(self, error: PenstockError) -> None:
        """Answer with an error, which then names the bundle that gave it."""
        error.bundle = self.bundle
        self.reply.error(error)


class Plans:
    """Makes works of requests for one model. Used on the event loop's thread only."""

    def __init__(
        self, inputs: Sequence[TensorMetadata], outputs: Sequence[TensorMetadata], rule: BatchRule, bundle: str = ""
    ) -> None:
        self._bundle = bundle
        self._inputs = inputs
        self._index = {tensor.name: index for index, tensor in enumerate(inputs)}
        self._outputs = {tensor.name for tensor in outputs}
        self._rule = rule
        self._plans: dict[Any, Plan] = {}

    def take(self, request: InferRequest, reply: Reply) -> Work:
        """Check a request and make it a work. Raises InvalidInput that names the field at fault."""
        form: Any
        inputs: Sequence[Tensor] = request.inputs
        outputs = request.outputs
        if len(inputs) == 1:
            tensor = inputs[0]
            form = (tensor.name, tensor.datatype, tensor.shape)
        else:
            form = tuple([(tensor.name, tensor.datatype, tensor.shape) for tensor in inputs])
        if outputs is not None:
            form = (form, tuple([output.name for output in outputs]))
        plan = self._plans.get(form)
        if plan is None:
            plan = self._plan(request)
            if len(self._plans) >= _MAX_PLANS:
                # Forms are the callers' choice and without number: a full table starts again.
                self._plans.clear()
            self._plans[form] = plan
        if plan.order is not None:
            inputs = [inputs[index] for index in plan.order]
        work = Work(request.context, reply, inputs, plan.rows, plan.nbytes, plan.key, plan.outputs, plan.sliced, self._bundle)
        if plan.text:
            _read_text(work, plan, request)
        return work

    def _plan(self, request: InferRequest) -> Plan:
        order = self._order(request.inputs)
        for index, tensor in enumerate(request.inputs):
            self._check(tensor, f"inputs[{index}]")
        tensors = [request.inputs[index] for index in order]
        rows, key, sliced = self._rows(tensors)
        text = tuple(index for index, tensor in enumerate(self._inputs) if tensor.datatype == "BYTES")
        nbytes = sum(tensor.size * DATATYPES[tensor.datatype].size for tensor in tensors)
        in_order = order == list(range(len(order)))
        return Plan(rows, nbytes, key, None if in_order else tuple(order), self._requested(request), text, sliced)

    def _order(self, inputs: Sequence[Tensor]) -> list[int]:
        places: dict[str, int] = {}
        for index, tensor in enumerate(inputs):
            if tensor.name not in self._index:
                raise InvalidInput(
                    f"the model has no input {tensor.name!r}; it takes {', '.join(self._index)}", field=f"inputs[{index}].name"
                )
            if tensor.name in places:
                raise InvalidInput(f"input {tensor.name!r} is given twice", field=f"inputs[{index}].name")
            places[tensor.name] = index
        missing = [name for name in self._index if name not in places]
        if missing:
            raise InvalidInput(f"missing {', '.join(missing)}; the model takes {', '.join(self._index)}", field="inputs")
        return [places[name] for name in self._index]

    def _check(self, tensor: Tensor, field: str) -> None:
        expected = self._inputs[self._index[tensor.name]]
        if tensor.datatype != expected.datatype:
            raise InvalidInput(f"expected {expected.datatype}, got {tensor.datatype}", field=f"{field}.datatype")
        # A fixed number of rows is met by padding and by several runs.
        wanted = (-1, *expected.shape[1:]) if self._rule.sharing is Sharing.FIXED else expected.shape
        if not fits(wanted, tensor.shape):
            raise InvalidInput(f"expected {list(wanted)}, got {list(tensor.shape)}", field=f"{field}.shape")

    def _rows(self, tensors: Sequence[Tensor]) -> tuple[int, Hashable | None, bool]:
        """Rows, sharing key, and whether outputs are sliced by row."""
        rows = tensors[0].shape[0] if tensors and tensors[0].shape else 1
        if self._rule.sharing is Sharing.ALONE:
            return max(rows, 1), None, False
        if any(tensor.shape[0] != rows for tensor in tensors):
            if self._rule.sharing is Sharing.FIXED:
                raise InvalidInput(f"expected as many rows in every input, got {[t.shape[0] for t in tensors]}", field="inputs")
            # The model may take it all the same; nobody else's rows come with it.
            return max(rows, 1), None, False
        return rows, tuple(tensor.shape[1:] for tensor in tensors), True

    def _requested(self, request: InferRequest) -> tuple[str, ...] | None:
        if request.outputs is None:
            return None
        for index, output in enumerate(request.outputs):
            if output.name not in self._outputs:
                raise InvalidInput(
                    f"the model has no output {output.name!r}; it gives {', '.join(sorted(self._outputs))}",
                    field=f"outputs[{index}].name",
                )
        return tuple(dict.fromkeys(output.name for output in request.outputs)) or None


def _read_text(work: Work, plan: Plan, request: InferRequest) -> None:
    """Decode the string inputs now: malformed data or text that is not UTF-8 is this caller's error alone."""
    text: dict[int, Array] = {}
    for index in plan.text:
        tensor = work.inputs[index]
        try:
            text[index] = tensor.strings()
        except InvalidInput as error:
            place = next(i for i, given in enumerate(request.inputs) if given is tensor)
            raise InvalidInput(error.message, field=f"inputs[{place}].data") from error
        work.nbytes += tensor.nbytes
    work.text = text
