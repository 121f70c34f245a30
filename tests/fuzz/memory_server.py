"""`penstock serve` without a network: bytes go into a connection's protocol, and what it writes is looked at.

    pieces of bytes -> protocol -> the whole application -> written bytes

Everything but the kernel is the real thing, two models included: flights with stored features, and pictures.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from uvicorn.server import ServerState

from penstock.serving.fast import FastProtocol
from penstock.serving.process import http_server
from penstock.testing.flights import write_flights, write_pictures, write_store
from penstock.testing.memory_transport import MemoryTransport
from penstock_cli.all_in_one import ServeSettings, build, places_of

HANG_S = 20.0


class Hang(Exception):
    """A request that was whole and got no answer."""


class MemoryServer:
    """The application on an event loop of its own."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.folder = tempfile.TemporaryDirectory()
        directory = Path(self.folder.name)
        places = places_of([write_flights(directory / "flights"), write_pictures(directory / "pictures")], None)
        store = write_store(directory / "online.db")
        settings = ServeSettings(feature_store=store, profile_s=0.0, grpc_port=-1, body_bytes=1 << 20)
        service, _ = build(settings, places)
        self.config = http_server(service, settings).config
        if not self.config.loaded:
            self.config.load()
        self.loop.run_until_complete(service.lifecycle.start())
        self.state = ServerState()

    def ask(self, *pieces: bytes) -> MemoryTransport:
        """One connection: feed the pieces, and wait until every whole request among them is answered. Raises Hang."""
        return self.loop.run_until_complete(self._ask(pieces))

    async def _ask(self, pieces: Sequence[bytes]) -> MemoryTransport:
        protocol = FastProtocol(self.config, self.state, {})
        transport = MemoryTransport(protocol)
        protocol.connection_made(transport)  # type: ignore[arg-type]
        for piece in pieces:
            if transport.closing:
                break
            transport.protocol.data_received(piece)
            await asyncio.sleep(0)
        until = time.monotonic() + HANG_S
        while transport.protocol is protocol and _waits(protocol) and not transport.closing:
            if time.monotonic() > until:
                raise Hang(f"no answer; written so far: {transport.written[-500:]!r}")
            # The store reads in a thread: a loop that only spins would keep the interpreter from it.
            await asyncio.sleep(0.0001)
        for _ in range(4):
            await asyncio.sleep(0)
        transport.protocol.connection_lost(None)
        return transport


def _waits(protocol: FastProtocol) -> bool:
    """Whether a request that came whole has no answer yet."""
    active: Any = protocol.active
    return bool(protocol.waiting) or bool(protocol.rest) or (active is not None and not active.more_body)
