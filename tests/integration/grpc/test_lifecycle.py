"""Ports, workers, draining, TLS: the program as it runs."""

import asyncio
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from penstock.cpus import cpu_limit
from penstock.protocol.grpc import messages
from penstock.testing.certificates import Authority
from penstock.testing.grpc_client import GrpcCaller, infer_message
from penstock.testing.plane import BUNDLE
from penstock.testing.server import ServerProcess

X = np.ones((1, 2), np.float32)


def echo(*arguments: str, port: int = 0) -> ServerProcess:
    options = ("--drain_delay_s", "0", "--grpc_port", str(port), *arguments)
    return ServerProcess("penstock.testing.echo_server", *options, grpc=True)


def test_a_port_that_is_taken_ends_the_start_and_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = echo(port=port).start()
        assert server.wait() == 1
    reason = server.wait_event("start failed", 1)["reason"]
    assert reason.endswith(f"gRPC cannot listen on 127.0.0.1:{port}: Address already in use")


def test_two_programs_never_share_a_port_by_chance() -> None:
    with echo() as first:
        second = echo(port=first.grpc_port).start()
        assert second.wait() == 1
        with GrpcCaller(first.grpc_address) as caller:
            caller.call("ModelInfer", infer_message("echo", x=X))


def test_without_a_port_there_is_no_grpc_in_the_process() -> None:
    with echo(port=-1) as server:
        assert server.grpc_port == 0
        assert "cygrpc" not in Path(f"/proc/{server.pid}/maps").read_text()


@pytest.mark.skipif(cpu_limit() < 2, reason="needs two CPUs: with one, workers are capped at one")
def test_workers_share_the_port_and_their_counters_add_up() -> None:
    with echo("--workers", "2") as server:
        # Each connection is one worker's: the kernel deals them out.
        for _ in range(40):
            with GrpcCaller(server.grpc_address) as caller:
                answer, _ = caller.call("ModelInfer", infer_message("echo", x=X))
                assert answer.raw_output_contents[0] == X.tobytes()
        text = httpx.get(f"{server.admin_url}/metrics").text
        assert f'penstock_requests_total{{bundle="{BUNDLE}",model="echo"}} 40.0' in text.splitlines()


async def load(address: str, callers: int) -> tuple[Counter[str], list["asyncio.Task[None]"]]:
    """Callers that call until they are refused; what became of their calls."""
    seen: Counter[str] = Counter()
    body = infer_message("echo", x=X).SerializeToString()
    channels = [grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)]

    async def call(channel: grpc.aio.Channel) -> None:
        infer: Any = channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")
        while True:
            try:
                await infer(body, timeout=20)
                seen["answered"] += 1
            except grpc.aio.AioRpcError as error:
                refused = error.code() is grpc.StatusCode.UNAVAILABLE and "onnect" in (error.details() or "")
                seen["moved on" if refused else f"lost: {error.code()} {error.details()}"] += 1
                return

    return seen, [asyncio.create_task(call(channels[number % len(channels)])) for number in range(callers)]


def test_a_drain_loses_no_call_of_callers_who_never_pause() -> None:
    async def main() -> None:
        seen, tasks = await load(server.grpc_address, 16)
        while seen["answered"] < 200:
            await asyncio.gather(asyncio.sleep(0.01))
        server.signal(signal.SIGTERM)
        await asyncio.gather(*tasks)
        assert seen["moved on"] == 16, seen
        assert set(seen) == {"answered", "moved on"}

    with echo("--drain_timeout_s", "3") as server:
        asyncio.run(main())
        assert server.wait() == 0


def test_a_second_signal_cuts_a_drain_short() -> None:
    with echo("--drain_timeout_s", "100") as server:
        with GrpcCaller(server.grpc_address) as caller:
            call: Any = caller.channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")
            late = call.future(infer_message("echo", delay=np.array([90], np.float32)).SerializeToString())
            caller.call("ServerLive")
            server.signal(signal.SIGTERM)
            server.wait_event("draining", 10)
            server.signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError):
                late.result(timeout=30)
        assert server.wait() == 0


def test_tls_is_spoken_with_the_certificate_of_http(tmp_path: Path) -> None:
    authority = Authority("test")
    pair = authority.issue(tmp_path, "server")
    root = authority.write(tmp_path / "ca.pem").read_bytes()
    with echo("--tls_cert", str(pair.cert), "--tls_key", str(pair.key)) as server:
        with GrpcCaller(server.grpc_address, credentials=grpc.ssl_channel_credentials(root)) as caller:
            caller.call("ModelInfer", infer_message("echo", x=X))
        with GrpcCaller(server.grpc_address) as plain:
            assert plain.refused("ServerLive", timeout_s=5)[0] is not grpc.StatusCode.OK
