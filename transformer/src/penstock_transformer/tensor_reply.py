"""Open Inference Protocol v2 with raw features: tensors by feature name in, the model's outputs back.

InferRequest -> PredictRequest (columns) -> pipeline -> PredictResponse -> TensorReply -> InferResponse
"""

from penstock.dataplane import InferRequest, InferResponse, Reply
from penstock.errors import InvalidInput, PenstockError
from penstock.tensors import Array, Tensor
from penstock_transformer.plan import FetchPlan
from penstock_transformer.requests import PredictResponse


def columns_of(request: InferRequest, plan: FetchPlan) -> dict[str, Array]:
    """The request's tensors as columns: shape `[n]` or `[n, 1]`, lists `[n, k]`. Raises InvalidInput naming the input."""
    columns: dict[str, Array] = {}
    for at, tensor in enumerate(request.inputs):
        field = f"inputs[{at}]"
        shape = tensor.shape
        kind = plan.column_types.get(tensor.name, "")
        flat = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1 and not kind.startswith("list<"))
        if not flat and not (len(shape) == 2 and kind.startswith("list<")):
            raise InvalidInput(f"expected shape [-1] for raw feature {tensor.name}, got {list(shape)}", field=f"{field}.shape")
        if tensor.name in columns:
            raise InvalidInput(f"{tensor.name} is given twice", field=f"{field}.name")
        if tensor.datatype == "BYTES" and kind != "image":
            array = _texts(tensor, f"{field}.data")
            columns[tensor.name] = array.reshape(-1) if flat else array
        else:
            columns[tensor.name] = tensor.vector if flat else tensor.array
    return columns


def _texts(tensor: Tensor, field: str) -> Array:
    try:
        return tensor.strings()
    except InvalidInput as error:
        raise InvalidInput(error.message, field=field) from None


class TensorReply:
    """A `PredictReply` for a caller who speaks tensors."""

    __slots__ = ("_caller", "_request")

    def __init__(self, request: InferRequest, caller: Reply) -> None:
        self._request = request
        self._caller = caller

    @property
    def disconnected(self) -> bool:
        return self._caller.disconnected

    def put(self, response: PredictResponse) -> None:
        try:
            outputs = [Tensor.from_array(name, array) for name, array in self._wanted(response.outputs).items()]
        except InvalidInput as error:
            self._caller.error(error)
            return
        parameters = {"degraded": True} if response.degraded else None
        self._caller.put(InferResponse(response.model, outputs, response.bundle, response.version, parameters))

    def error(self, error: PenstockError) -> None:
        self._caller.error(error)

    def _wanted(self, outputs: dict[str, Array]) -> dict[str, Array]:
        asked = self._request.outputs
        if asked is None:
            return outputs
        for at, output in enumerate(asked):
            if output.name not in outputs:
                raise InvalidInput(
                    f"no output {output.name!r}; expected one of {', '.join(outputs)}", field=f"outputs[{at}].name"
                )
        return {output.name: outputs[output.name] for output in asked}
