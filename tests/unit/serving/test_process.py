"""The process around the server: what it does when a part of it fails."""

import asyncio
import socket

from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock.serving.app import build_app
from penstock.serving.options import ServingSettings
from penstock.serving.process import Process, Service
from penstock.testing.plane import EchoPlane


def make_process(sock: socket.socket) -> Process:
    lifecycle, metrics = Lifecycle(), Metrics()
    app = build_app(EchoPlane(), lifecycle=lifecycle, metrics=metrics)
    return Process(Service(app, lifecycle, metrics), ServingSettings(drain_delay_s=0), sock, None, None)


def test_a_server_that_cannot_listen_ends_the_process_after_its_stop_hooks(caplog):
    released = []

    async def release() -> None:
        released.append(True)

    async def body() -> int:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:  # bound, and nothing that one can listen on
            sock.bind(("127.0.0.1", 0))
            process = make_process(sock)
            process.service.lifecycle.on_stop("model", release, StopPhase.RELEASE)
            async with asyncio.timeout(20):
                return await process.run()

    assert asyncio.run(body()) == 1
    assert released == [True]
    assert "server failed" in caplog.messages


def test_a_connection_that_cannot_be_swept_is_cut_and_the_others_keep_their_limits(run, caplog):
    async def body(bench):
        with socket.socket() as sock:
            process = make_process(sock)
            broken, cut = bench.connect()
            whole, transport = bench.connect()
            broken.flow = None  # type: ignore[assignment]
            process.server.server_state.connections |= {broken, whole}
            for _ in range(100):
                process.sweep_connections()
            assert cut.aborted
            assert transport.closing
            assert "sweep failed" in caplog.messages

    run(body)
