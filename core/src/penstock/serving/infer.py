"""The hot routes over any DataPlane: Open Inference Protocol v2 `infer` and KServe v1 `:predict`.

    exchange --read_context, decode--> InferRequest --submit--> DataPlane --Reply--> encode --> exchange.answer

A handler translates and decides nothing. What it raises becomes the answer of its own request (the shell sees to that); what a
data plane answers, now or later, comes through the reply.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from penstock.dataplane import DataPlane, InferRequest, InferResponse, ModelMetadata
from penstock.errors import InvalidInput, PenstockError, UnsupportedType
from penstock.protocol import v1, v2
from penstock.protocol.limits import Limits
from penstock.serving.context import read_context
from penstock.serving.early import EarlyRefusals
from penstock.serving.exchange import Exchange, HotHandler, fail_for
from penstock.serving.faults import fault
from penstock.serving.routes import HotRoute, HotRoutes

logger = logging.getLogger(__name__)

_HEADER_LENGTH = b"inference-header-content-length"
_BINARY = b"application/octet-stream"


def infer_routes(plane: DataPlane, limits: Limits) -> HotRoutes:
    """The protocol's hot routes: v2 infer with and without a version, and v1 predict."""
    infer = infer_handler(plane, limits)
    return HotRoutes(
        [
            HotRoute("POST", "/v2/models/{model}/infer", infer, "Infer (Open Inference Protocol v2)", _V2_OPENAPI, early=True),
            HotRoute(
                "POST", "/v2/models/{model}/versions/{version}/infer", infer, "Infer with a version", _V2_OPENAPI, early=True
            ),
            HotRoute(
                "POST",
                "/v1/models/{model}:predict",
                predict_handler(plane, limits),
                "Predict (KServe v1)",
                _V1_OPENAPI,
                early=True,
            ),
        ]
    )


class InferReply(msgspec.Struct, eq=False):
    """Answers an exchange with what the data plane says. One is made for each request."""

    exchange: Exchange
    request: InferRequest
    encode: Callable[[InferResponse, InferRequest], tuple[bytes, int | None]]

    @property
    def disconnected(self) -> bool:
        return self.exchange.disconnected

    def put(self, response: InferResponse) -> None:
        exchange = self.exchange
        exchange.served_by(self.request.model, response.bundle)
        try:
            body, header_length = self.encode(response, self.request)
        except PenstockError as error:
            exchange.fail(error)
        except Exception as error:
            exchange.fail(fault(logger, "response could not be encoded", error, self.request.context.request_id))
        else:
            if header_length is None:
                exchange.answer(200, body)
            else:
                exchange.answer(200, body, _BINARY, b"inference-header-content-length: %d\r\n" % header_length)

    def error(self, error: PenstockError) -> None:
        fail_for(self.exchange, self.request.model, error)


def infer_handler(plane: DataPlane, limits: Limits) -> HotHandler:
    """The handler of v2 infer. Its parameters are the model and, on the versioned path, the version."""
    encode = v2.encode_response
    early = EarlyRefusals.of(plane)
    pressure = early.pressure

    def handle(exchange: Exchange) -> None:
        params = exchange.params
        context = read_context(exchange)
        if pressure.batchers:
            early.check(exchange, context)
        headers = exchange.headers
        if b"content-encoding" in headers:
            refuse_encoding(exchange)
        length = headers.get(_HEADER_LENGTH)
        request = v2.decode_request(
            exchange.body,
            model=params[0],
            version=params[1] if len(params) > 1 else None,
            context=context,
            header_length=None if length is None else _header_length(length),
            limits=limits,
        )
        plane.submit(request, InferReply(exchange, request, encode))

    return handle


def predict_handler(plane: DataPlane, limits: Limits) -> HotHandler:
    """The handler of v1 predict. The instances become the model's tensors by its metadata."""
    waiting: set[asyncio.Task[None]] = set()
    early = EarlyRefusals.of(plane)
    pressure = early.pressure

    def submit(exchange: Exchange, metadata: ModelMetadata) -> None:
        context = read_context(exchange)
        if pressure.batchers:
            early.check(exchange, context)
        instances = v1.decode_instances(exchange.body, limits=limits)
        inputs = v1.tensors_of(instances, metadata.inputs, limits=limits)
        request = InferRequest(exchange.params[0], inputs, context)
        plane.submit(request, InferReply(exchange, request, _encode_v1))

    async def submit_later(exchange: Exchange) -> None:
        try:
            submit(exchange, await plane.metadata(exchange.params[0]))
        except PenstockError as error:
            exchange.fail(error)
        except Exception as error:
            exchange.fail(fault(logger, "handler failed", error, exchange.request_id))

    def handle(exchange: Exchange) -> None:
        if b"content-encoding" in exchange.headers:
            refuse_encoding(exchange)
        metadata = _now(plane, exchange.params[0])
        if metadata is not None:
            submit(exchange, metadata)
            return
        task = asyncio.get_running_loop().create_task(submit_later(exchange))
        waiting.add(task)
        task.add_done_callback(waiting.discard)

    return handle


def refuse_encoding(exchange: Exchange) -> None:
    """Raises UnsupportedType for a compressed body; `identity` passes."""
    check_encoding(exchange.headers)


def check_encoding(headers: Mapping[bytes, bytes]) -> None:
    """The same by the headers."""
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding not in (b"", b"identity"):
        raise UnsupportedType(f"expected no content encoding, got {encoding.decode('latin-1')[:40]!r}", field="Content-Encoding")


def _now(plane: DataPlane, model: str) -> ModelMetadata | None:
    """The metadata if the data plane has it at hand, without the cost of a task; None if it has to wait for something."""
    attempt = plane.metadata(model)
    try:
        attempt.send(None)
    except StopIteration as done:
        found: ModelMetadata = done.value
        return found
    attempt.close()
    return None


def _encode_v1(response: InferResponse, _request: InferRequest) -> tuple[bytes, None]:
    return v1.encode_predictions(response.outputs), None


def _header_length(value: bytes) -> int:
    if value.isdigit() and len(value) < 16:
        return int(value)
    raise InvalidInput(
        f"expected a number of bytes, got {value.decode('latin-1')[:40]!r}", field="Inference-Header-Content-Length"
    )


def _json_body(schema: dict[str, Any], *, binary: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if binary:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


_V2_OPENAPI = _json_body(
    {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": {"type": ["object", "null"]},
            "inputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "datatype", "shape", "data"],
                    "properties": {
                        "name": {"type": "string"},
                        "datatype": {"type": "string"},
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "data": {"type": "array", "items": {}},
                    },
                },
            },
            "outputs": {"type": ["array", "null"], "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        },
        "example": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.5]}]},
    },
    binary=True,
)
_V1_OPENAPI = _json_body(
    {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "items": {}}},
        "example": {"instances": [[0.5, 1.5]]},
    }
)
