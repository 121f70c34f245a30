"""The gRPC health service, which Kubernetes' probes and load balancers ask.

`""` and the inference service's name stand for the whole server, a model's name for that model. Serving means ready: what
`/v2/health/ready` says. Nobody needs a credential for it, as over HTTP.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckResponse

from penstock.dataplane import DataPlane
from penstock.errors import NotFound, PenstockError
from penstock.lifecycle import State
from penstock.protocol.grpc.decoding import parse
from penstock.protocol.grpc.messages import SERVICE
from penstock.serving.grpc.status import abort
from penstock.serving.shell import Shell

if TYPE_CHECKING:
    import grpc

NAME = "grpc.health.v1.Health"

# How soon a watcher hears of a change: readiness is asked for, nobody announces it.
_LOOK_S = 0.5


class Health:
    """The handlers of Check and Watch."""

    def __init__(self, plane: DataPlane, shell: Shell) -> None:
        self._plane = plane
        self._shell = shell
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End every watch: it would hold up the server's own end."""
        self._stopping.set()

    async def check(self, message: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        """One service's status now; NOT_FOUND for a service that is none."""
        try:
            service = parse(health_pb2.HealthCheckRequest, message).service
            status = self._status(service)
            if status == HealthCheckResponse.SERVICE_UNKNOWN:
                raise NotFound(f"no service {service[:80]!r}; expected {SERVICE}, a model, or nothing")
        except PenstockError as error:
            await abort(context, error, ())
        return HealthCheckResponse(status=status).SerializeToString()

    async def watch(self, message: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> AsyncIterator[bytes]:
        """One service's status now and whenever it changes, until the caller or the server ends it."""
        try:
            service = parse(health_pb2.HealthCheckRequest, message).service
        except PenstockError as error:
            await abort(context, error, ())
        last: Any = None
        while True:
            status = self._status(service)
            if status != last:
                last = status
                yield HealthCheckResponse(status=status).SerializeToString()
            if self._stopping.is_set():
                return
            try:
                await asyncio.wait_for(self._stopping.wait(), _LOOK_S)
            except TimeoutError:
                pass

    def _status(self, service: str) -> Any:
        lifecycle = self._shell.lifecycle
        try:
            if service in ("", SERVICE):
                ready = lifecycle.ready and self._plane.ready()
            else:
                ready = self._plane.ready(service) and lifecycle.state is State.READY
        except NotFound:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
