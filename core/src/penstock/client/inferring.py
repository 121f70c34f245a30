"""The calls of the Open Inference Protocol: tensors in, tensors out, binary unless JSON is asked for; metadata and readiness."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from penstock.client.call import Answer, Call, path_of
from penstock.client.reading import document_of
from penstock.client.results import Inference
from penstock.dataplane import Context, InferRequest, InferResponse, ModelMetadata, RequestedOutput, TensorMetadata
from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.protocol.v2 import decode_response, encode_request
from penstock.tensors import Array, Tensor

_CONTEXT = Context("")
_LENGTH = "inference-header-content-length"


def infer(
    model: str,
    inputs: Mapping[str, npt.ArrayLike],
    *,
    outputs: Sequence[str] | None,
    version: str | None,
    id: str | None,
    parameters: Mapping[str, Any] | None,
    binary: bool,
) -> Call[Inference]:
    """Infer. `binary` False sends and asks for JSON, which has no FP16."""
    request = request_of(model, inputs, outputs=outputs, version=version, id=id, parameters=parameters)
    body, length = (encode_request if binary else json_request)(request)
    headers = (
        {"content-type": "application/octet-stream", _LENGTH: str(length)} if binary else {"content-type": "application/json"}
    )
    return Call("POST", f"{_model_path(model, version)}/infer", lambda answer: inference_of(answer, id), body, headers)


def request_of(
    model: str,
    inputs: Mapping[str, npt.ArrayLike],
    *,
    outputs: Sequence[str] | None = None,
    version: str | None = None,
    id: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> InferRequest:
    """An inference request of arrays by name. Raises InvalidInput for a dtype that the protocol has not."""
    wanted = None if outputs is None else [RequestedOutput(name) for name in outputs]
    tensors = [tensor_of(name, array) for name, array in inputs.items()]
    return InferRequest(model, tensors, _CONTEXT, version, id, wanted, None if parameters is None else dict(parameters))


def tensor_of(name: str, value: npt.ArrayLike) -> Tensor:
    """A tensor of anything that numpy makes an array of; elements of object arrays are `str` or `bytes`."""
    array = np.asarray(value)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    if array.dtype == object and not all(isinstance(element, str | bytes) for element in array.ravel()):
        raise InvalidInput("expected elements of str or bytes, or an array of numbers", field=name)
    try:
        return Tensor.from_array(name, array)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=name) from None


def json_request(request: InferRequest) -> tuple[bytes, int]:
    """The body of a request in JSON; its length twice, as for `encode_request`."""
    document: dict[str, Any] = {"parameters": {**(request.parameters or {}), "binary_data_output": False}}
    if request.id is not None:
        document["id"] = request.id
    if request.outputs is not None:
        document["outputs"] = [{"name": output.name} for output in request.outputs]
    items = [
        orjson.dumps({"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)})[:-1]
        + b',"data":['
        + tensor.json
        + b"]}"
        for tensor in request.inputs
    ]
    body = orjson.dumps(document)[:-1] + b',"inputs":[' + b",".join(items) + b"]}"
    return body, len(body)


def inference_of(answer: Answer, id: str | None = None) -> Inference:
    """The result of an answer, JSON or binary. Raises UpstreamUnavailable if it is none of the protocol."""
    length = answer.headers.get(_LENGTH)
    if length is not None and not length.isdecimal():
        raise UpstreamUnavailable("the answer's Inference-Header-Content-Length is not a number")
    response = decode_response(answer.body, None if length is None else int(length), bundle=answer.bundle)
    return result_of(response, answer.request_id, id)


def result_of(response: InferResponse, request_id: str, id: str | None) -> Inference:
    """A decoded answer as a result."""
    outputs = {tensor.name: _array(tensor) for tensor in response.outputs}
    return Inference(response.model, response.version, response.bundle, outputs, request_id, id, response.parameters or {})


def metadata(model: str, version: str | None) -> Call[ModelMetadata]:
    return Call("GET", _model_path(model, version), _metadata_of)


def models() -> Call[Sequence[str]]:
    return Call("GET", "/v1/models", lambda answer: tuple(document_of(answer).get("models") or ()))


def _model_path(model: str, version: str | None) -> str:
    return path_of("/v2/models/{}", model) if version is None else path_of("/v2/models/{}/versions/{}", model, version)


def _array(tensor: Tensor) -> Array:
    """Text as `str`; only a tensor that holds other bytes keeps them."""
    if tensor.datatype != "BYTES":
        return tensor.array
    try:
        return tensor.strings()
    except InvalidInput:
        return tensor.array


def _metadata_of(answer: Answer) -> ModelMetadata:
    document = document_of(answer)
    try:
        inputs, outputs = (
            tuple(TensorMetadata(item["name"], item["datatype"], tuple(item["shape"])) for item in document[side])
            for side in ("inputs", "outputs")
        )
        name, versions = document["name"], tuple(document.get("versions") or ())
    except (KeyError, TypeError) as error:
        raise UpstreamUnavailable(f"the answer is no metadata of a model: {error!r}") from None
    bundle = answer.bundle or document.get("bundle") or ""
    return ModelMetadata(name, versions, document.get("platform") or "", inputs, outputs, bundle=bundle)
