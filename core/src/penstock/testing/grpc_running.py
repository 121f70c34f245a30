"""A gRPC server in the test's own process, over a data plane that can be watched.

async def check(running: RunningGrpc) -> None:
    await running.infer(infer_message("echo", x=array))

run_grpc(check)
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc

from penstock.dataplane import InferRequest, Reply
from penstock.errors import PenstockError
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.protocol.grpc import messages
from penstock.protocol.limits import Limits
from penstock.serving.app import build_app
from penstock.serving.grpc import GrpcServer
from penstock.serving.shell import Shell, ShellLimits
from penstock.testing.plane import EchoPlane

INFER = f"/{messages.SERVICE}/ModelInfer"
STREAM = f"/{messages.SERVICE}/ModelStreamInfer"
_LOOK_S = 0.002


class WatchedPlane(EchoPlane):
    """Remembers the requests and replies that it was given; `raises` makes `submit` fail as it never should."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[InferRequest, Reply]] = []
        self.raises: Exception | None = None
        self.error: PenstockError | None = None
        self.changed = asyncio.Event()

    def submit(self, request: InferRequest, reply: Reply) -> None:
        self.taken.append((request, reply))
        self.changed.set()
        if self.raises is not None:
            raise self.raises
        if self.error is not None:
            reply.error(self.error)
        else:
            super().submit(request, reply)

    async def has(self, count: int) -> None:
        """Until so many requests were submitted."""
        while len(self.taken) < count:
            self.changed.clear()
            await self.changed.wait()


class RunningGrpc:
    """The server, its parts and a channel to it."""

    def __init__(self, plane: WatchedPlane, shell: Shell, server: GrpcServer, channel: Any) -> None:
        self.plane = plane
        self.shell = shell
        self.server = server
        self.channel = channel

    def infer(self, wire: Any, **options: Any) -> Any:
        """A call of ModelInfer with a message."""
        return self.channel.unary_unary(INFER)(wire.SerializeToString(), **options)

    def stream(self, **options: Any) -> Any:
        """A call of ModelStreamInfer."""
        call: Any = self.channel.stream_stream(STREAM)
        return call(**options)


async def until(condition: Callable[[], bool]) -> None:
    """Until a condition holds; what never does ends with the test's own limit of time."""
    while True:
        if condition():
            return
        await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def serving_grpc(*, ready: bool = True, limits: ShellLimits | None = None) -> AsyncIterator[RunningGrpc]:
    """A server on a port of the kernel's choice, `ready` or starting, and a channel to it."""
    plane, lifecycle = WatchedPlane(), Lifecycle()
    app = build_app(plane, lifecycle=lifecycle, metrics=Metrics(), shell_limits=limits)
    if ready:
        await lifecycle.start()
    shell = app.state.shell
    server = GrpcServer(plane, shell, host="127.0.0.1", port=0, limits=Limits(), drain_timeout_s=5.0)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield RunningGrpc(plane, shell, server, channel)
    finally:
        await server.drain(0)


def run_grpc(check: Callable[[RunningGrpc], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a check against a server of its own; `options` are those of `serving_grpc`."""

    async def main() -> None:
        async with serving_grpc(**options) as running:
            await check(running)

    asyncio.run(main())
