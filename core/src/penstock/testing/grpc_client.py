"""A gRPC caller for tests that need what the clients of others do not show: raw bytes, metadata, statuses.

with GrpcCaller(server.grpc_address) as caller:
    answer, trailers = caller.call("ModelInfer", infer_message("echo", x=array))
"""

from types import TracebackType
from typing import Any, Self

import grpc

from penstock.protocol.grpc import messages
from penstock.tensors import Array, Tensor

Trailers = dict[str, str]


def infer_message(model: str, **arrays: Array) -> Any:
    """A ModelInferRequest with raw tensors."""
    wire = messages.ModelInferRequest(model_name=model)
    for name, array in arrays.items():
        tensor = Tensor.from_array(name, array)
        wire.inputs.add(name=name, datatype=tensor.datatype, shape=tensor.shape)
        wire.raw_input_contents.append(bytes(tensor.raw))
    return wire


def method_types(method: str) -> tuple[Any, Any]:
    """The message classes that a method of the service takes and gives."""
    described = messages.POOL.FindServiceByName(messages.SERVICE).methods_by_name[method]
    return getattr(messages, described.input_type.name), getattr(messages, described.output_type.name)


class GrpcCaller:
    """One channel. `options` are gRPC's channel arguments; `credentials` None for plain text."""

    def __init__(
        self, address: str, *, credentials: grpc.ChannelCredentials | None = None, options: list[tuple[str, Any]] | None = None
    ) -> None:
        given = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1), *(options or [])]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, given)
        else:
            self.channel = grpc.secure_channel(address, credentials, given)

    def call(
        self, method: str, message: Any = b"", *, timeout_s: float | None = 30.0, **metadata: str | bytes
    ) -> tuple[Any, Trailers]:
        """The answer and its trailing metadata; names in `metadata` have `_` for `-`. Raises grpc.RpcError."""
        call: Any = self.channel.unary_unary(f"/{messages.SERVICE}/{method}")
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        given = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
        answer, done = call.with_call(raw, timeout=timeout_s, metadata=given)
        return method_types(method)[1].FromString(answer), dict(done.trailing_metadata())

    def refused(self, method: str, message: Any = b"", **options: Any) -> tuple[grpc.StatusCode, str, Trailers]:
        """Code, message and trailing metadata of a call that fails. Raises AssertionError if it does not."""
        try:
            answer, _ = self.call(method, message, **options)
        except grpc.RpcError as raised:
            error: Any = raised
            return error.code(), error.details(), dict(error.trailing_metadata())
        raise AssertionError(f"it was answered: {answer}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.channel.close()
