"""Connections of gRPC whose other side is gone, idle, or pings: found out, closed, borne."""

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import pytest

from penstock.protocol.grpc import messages
from penstock.serving.grpc import server as grpc_server
from penstock.serving.shell import ShellLimits
from penstock.testing.grpc_running import RunningGrpc, run_grpc

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
