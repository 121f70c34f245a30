"""Server reflection: what services, methods and messages there are, for grpcurl and its like.

grpcio-reflection answers it; here it gets a pool of its own (the protocol's messages are in no default pool) and its newer name:
`grpc.reflection.v1` is `v1alpha` with another package and the same messages, and newer clients ask for it first.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from penstock.errors import PenstockError
from penstock.protocol.grpc.messages import POOL, SERVICE
from penstock.serving.grpc.call import admit, headers_of, peer_of
from penstock.serving.grpc.health import NAME as HEALTH
from penstock.serving.grpc.status import abort
from penstock.serving.security.scopes import READ
from penstock.serving.shell import Shell

if TYPE_CHECKING:
    import grpc

ALPHA = "grpc.reflection.v1alpha"
STABLE = "grpc.reflection.v1"
NAMES = tuple(f"{package}.ServerReflection" for package in (ALPHA, STABLE))


def described() -> Any:
    """A pool of every file that a service of ours is in."""
    pool: Any = DescriptorPool()
    for descriptor in (POOL.FindFileContainingSymbol(SERVICE), health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        pool.AddSerializedFile(descriptor.serialized_pb)
    pool.AddSerializedFile(_stable().SerializeToString())
    return pool


def _stable() -> Any:
    """The file of `grpc.reflection.v1`, made of that of v1alpha."""
    file: Any = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name = file.name.replace("v1alpha", "v1")
    file.package = STABLE
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(ALPHA, STABLE)
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(ALPHA, STABLE)
            method.output_type = method.output_type.replace(ALPHA, STABLE)
    return file


class Reflection:
    """The handler of ServerReflectionInfo, of either name."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._servicer = reflection.aio.ReflectionServicer((SERVICE, HEALTH, *NAMES), pool=described())
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End every stream: tools keep theirs open for as long as they run, which would hold up the server's own end."""
        self._stopping.set()

    async def info(self, _: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> AsyncIterator[Any]:
        """What is asked for, to those who may read the API's description."""
        try:
            await admit(self._shell, headers_of(context), None, READ, peer_of(context))
        except PenstockError as error:
            await abort(context, error, ())
        answers: Any = self._servicer.ServerReflectionInfo(self._until_stopped(context), context)
        async for answer in answers:
            yield answer

    async def _until_stopped(self, context: "grpc.aio.ServicerContext[Any, Any]") -> AsyncIterator[Any]:
        """The questions of one stream, until its caller or the server ends it."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                reading = asyncio.ensure_future(context.read())
                try:
                    await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    if not reading.done() or not isinstance(question := reading.result(), reflection_pb2.ServerReflectionRequest):
                        return
                finally:
                    reading.cancel()
                yield question
        finally:
            stopping.cancel()
