"""Which call is answered by what: the one module that puts the shell's parts before grpc.aio.

Handlers are given without (de)serializers: messages come and go as bytes, so that what cannot be decoded is refused by us, with
the field named, and sizes are known.
"""

import time
from collections.abc import Callable
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection_pb2

from penstock.dataplane import DataPlane
from penstock.protocol.grpc.messages import SERVICE
from penstock.protocol.limits import Limits
from penstock.repository import ModelRepository
from penstock.serving.grpc import health, reflection
from penstock.serving.grpc.infer import Unary
from penstock.serving.grpc.service import Service, Snapshots
from penstock.serving.grpc.stream import Streaming
from penstock.serving.shell import Shell


class Handlers(grpc.GenericRpcHandler):
    """The table of methods by path. `stops` end what would outlive a drain: open streams and watches. `last_call` is when the
    newest call began, in seconds of `time.monotonic()`."""

    def __init__(self, methods: dict[str, Any], stops: list[Callable[[], None]]) -> None:
        self._methods = methods
        self.stops = stops
        self.last_call = 0.0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method, None for one that is not there."""
        self.last_call = time.monotonic()
        return self._methods.get(handler_call_details.method)


def handlers(
    plane: DataPlane, shell: Shell, limits: Limits, repository: ModelRepository | None, snapshots: Snapshots
) -> Handlers:
    """Every call of this server."""
    streaming = Streaming(plane, shell, limits)
    watching = health.Health(plane, shell)
    methods: dict[str, Any] = {
        f"/{SERVICE}/{name}": grpc.unary_unary_rpc_method_handler(handler)
        for name, handler in Service(plane, shell, repository, snapshots).handlers.items()
    }
    methods[f"/{SERVICE}/ModelInfer"] = grpc.unary_unary_rpc_method_handler(Unary(plane, shell, limits).infer)
    methods[f"/{SERVICE}/ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(streaming.infer)
    methods[f"/{health.NAME}/Check"] = grpc.unary_unary_rpc_method_handler(watching.check)
    methods[f"/{health.NAME}/Watch"] = grpc.unary_stream_rpc_method_handler(watching.watch)
    describing = reflection.Reflection(shell)
    described = grpc.stream_stream_rpc_method_handler(
        describing.info,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods |= {f"/{name}/ServerReflectionInfo": described for name in reflection.NAMES}
    return Handlers(methods, [streaming.stop, watching.stop, describing.stop])
