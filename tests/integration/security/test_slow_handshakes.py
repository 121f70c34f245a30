"""A TLS handshake that never ends is given up, on whichever event loop, and one that is in time is not."""

import asyncio
import ssl
from contextlib import suppress
from typing import Any

import pytest
import uvloop

from penstock.serving.security import handshakes
from penstock.serving.security.handshakes import Handshakes


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def eof_received(self) -> None:
        self.transport.close()


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_handshake_that_never_ends_is_given_up(trust: Any, monkeypatch: pytest.MonkeyPatch, loop: Any) -> None:
    monkeypatch.setattr(handshakes, "HANDSHAKE_TIMEOUT_S", 1.0)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(trust.server.cert, trust.server.key)

    async def main() -> None:
        watched = Handshakes(served)
        server = await asyncio.get_running_loop().create_server(lambda: watched.accept(Echo()), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = ssl.create_default_context(cafile=trust.ca)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        for said in (b"", b"\x16\x03\x01\x02\x00\x01"):
            silent, quiet = await asyncio.open_connection("127.0.0.1", port)
            quiet.write(said)
            with suppress(ConnectionError):
                await asyncio.wait_for(silent.read(-1), 30)
            await closed(quiet)
        writer.write(b"still here")
        assert await asyncio.wait_for(reader.readexactly(10), 30) == b"still here"
        assert not watched.running
        await closed(writer)
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
