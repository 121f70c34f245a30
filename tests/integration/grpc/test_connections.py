"""Connections of gRPC as the wire shows them: whose other side is gone, which are idle, whose answers are compressed."""

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import pytest

from penstock.protocol.grpc import messages
from penstock.serving.grpc import server as grpc_server
from penstock.serving.shell import ShellLimits
from penstock.testing.grpc_client import infer_message
from penstock.testing.grpc_running import INFER, STREAM, RunningGrpc, run_grpc

# RFC 9113, 3.4 and 6: a client's first bytes, and frames as (type, flags, stream, payload).
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _GOAWAY = 4, 6, 7
_ACK = 1


def frame(kind: int, flags: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + bytes(4) + payload


class Peer:
    """A client that speaks HTTP/2 by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, running: RunningGrpc) -> "Peer":
        peer = cls(*await asyncio.open_connection("127.0.0.1", running.server.port))
        peer.writer.write(_PREFACE + frame(_SETTINGS))
        return peer

    async def frames(self, *, answers_pings: bool) -> list[tuple[int, bytes]]:
        """All that the server says until it closes the connection; settings are acknowledged."""
        said = []
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                said.append((head[3], payload))
                if head[3] == _SETTINGS and not head[4] & _ACK:
                    self.writer.write(frame(_SETTINGS, _ACK))
                elif head[3] == _PING and not head[4] & _ACK and answers_pings:
                    self.writer.write(frame(_PING, _ACK, payload))
        self.writer.close()
        return said


def test_a_peer_that_is_gone_is_found_out_and_one_that_answers_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "_PING_AFTER_S", 1)
    monkeypatch.setattr(grpc_server, "_PING_ANSWER_S", 1)
    monkeypatch.setattr(grpc_server, "_AGE_OF_DRAIN", 100)  # or both would be told to move on

    async def check(running: RunningGrpc) -> None:
        there = await Peer.connect(running)
        listening = asyncio.create_task(there.frames(answers_pings=True))
        gone = await Peer.connect(running)
        said = await gone.frames(answers_pings=False)
        assert [kind for kind, _ in said if kind in (_PING, _GOAWAY)] == [_PING, _GOAWAY]
        assert not listening.done()
        listening.cancel()
        there.writer.close()

    run_grpc(check)


def test_an_idle_connection_is_closed_and_its_caller_comes_back_over_another() -> None:
    async def check(running: RunningGrpc) -> None:
        idle = await Peer.connect(running)
        said = await idle.frames(answers_pings=True)
        assert [payload[8:] for kind, payload in said if kind == _GOAWAY] == [b"connection idle"]
        # A real client sees nothing of it.
        live: Any = running.channel.unary_unary(f"/{messages.SERVICE}/ServerLive")
        await live(b"")
        while running.channel.get_state() is not grpc.ChannelConnectivity.IDLE:
            await running.channel.wait_for_state_change(running.channel.get_state())
        await live(b"")

    run_grpc(check, limits=ShellLimits(keep_alive_s=1))


def test_a_connection_that_says_nothing_or_half_of_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "_GREETING_S", 1)

    async def check(running: RunningGrpc) -> None:
        for said in (b"", _PREFACE[:10], _PREFACE):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
            writer.write(said)
            with suppress(ConnectionError):
                await reader.read(-1)
            writer.close()

    run_grpc(check)


async def answered_bytes(running: RunningGrpc, *, stream: bool, **metadata: str) -> int:
    """What an answer of 40 kB takes on the wire, unary or in a stream, seen by a proxy between."""
    taken = 0

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, sink = await asyncio.open_connection("127.0.0.1", running.server.port)

        async def answers() -> None:
            nonlocal taken
            while data := await upstream.read(65536):
                taken += len(data)
                writer.write(data)

        async def requests() -> None:
            while data := await reader.read(65536):
                sink.write(data)

        with suppress(ConnectionError):
            await asyncio.wait([asyncio.create_task(answers()), asyncio.create_task(requests())], return_when="FIRST_COMPLETED")
        sink.close()
        writer.close()

    large = infer_message("echo", x=np.zeros((100, 100), np.float32))
    async with await asyncio.start_server(between, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            given = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
            if stream:
                call: Any = channel.stream_stream(STREAM)(metadata=given)
                await call.write(large.SerializeToString())
                answer = messages.ModelStreamInferResponse.FromString(await call.read()).infer_response
                await call.done_writing()
            else:
                raw: Any = await channel.unary_unary(INFER)(large.SerializeToString(), metadata=given)
                answer = messages.ModelInferResponse.FromString(raw)
            assert len(answer.raw_output_contents[0]) == 40_000
    return taken


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_smaller_on_the_wire_for_who_asks_for_that(stream: bool) -> None:
    async def check(running: RunningGrpc) -> None:
        assert await answered_bytes(running, stream=stream) > 40_000
        assert await answered_bytes(running, stream=stream, accept_encoding="gzip") < 5_000

    run_grpc(check)
