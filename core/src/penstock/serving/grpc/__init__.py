"""The gRPC shell over any DataPlane: the Open Inference Protocol's service, Triton's streams, health and reflection.

    grpc.aio --bytes--> calls --penstock.protocol.grpc--> InferRequest --submit--> DataPlane --Reply--> the same way back

It is a thin shell as HTTP is, and shares that one's `Shell`: the same byte budget, guard, counters and log lines.

Importing this package imports no grpc: that happens when a server with a port is started (extra `grpc`).
"""

from fastapi import FastAPI

from penstock.protocol.limits import Limits
from penstock.repository import ModelRepository
from penstock.serving.exposition import model_snapshots
from penstock.serving.grpc.server import GrpcServer
from penstock.serving.options import ServingSettings
from penstock.serving.side_server import SideServer

__all__ = ["GrpcServer", "grpc_servers"]


def grpc_servers(
    app: FastAPI, settings: ServingSettings, *, limits: Limits, repository: ModelRepository | None = None
) -> list[SideServer]:
    """The gRPC server of an application from `build_app`, as a `Service` wants it; none if `grpc_port` is negative.

    `repository`: what RepositoryIndex, RepositoryModelLoad and RepositoryModelUnload reach; without it they are UNIMPLEMENTED.
    """
    if settings.grpc_port < 0:
        return []
    tls = settings.tls()
    return [
        GrpcServer(
            app.state.plane,
            app.state.shell,
            host=settings.host,
            port=settings.grpc_port,
            limits=limits,
            drain_timeout_s=settings.drain_timeout_s,
            repository=repository,
            snapshots=lambda: model_snapshots(app.state, app.state.shell.metrics),
            credentials=None if tls is None else tls.grpc_server_credentials,
        )
    ]
