"""uvicorn's server, ended so that nobody who is connected notices it as a fault.

    listening -> new SYNs dropped -> handshakes that have begun end -> listeners closed -> what the kernel accepted is served too

Invariant: a client that saw its connection made is answered, or told to close, never reset.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any, cast

import uvicorn

from penstock.serving.security.handshakes import Handshakes
from penstock.serving.security.tls import TlsSettings

# Longer than the rest of a handshake takes, once its first segment was answered.
HANDSHAKE_S = 0.05
_TLS_HANDSHAKE_S = 5.0
_SO_ATTACH_FILTER = 26


class QuietServer(uvicorn.Server):
    """uvicorn's server, with two differences: it leaves signals alone (the process has one owner of them), and
    its end loses no connection that a client already sees as made."""

    def __init__(self, config: uvicorn.Config, tls: TlsSettings | None = None) -> None:
        super().__init__(config)
        config.load()
        self._make: Any = config.http_protocol_class
        self._handshakes = None if tls is None else Handshakes(tls.server_context())
        if self._handshakes is not None:
            config.http_protocol_class = cast(type[asyncio.Protocol], self._accept)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners, but first take what the kernel has accepted for us: closing alone would reset those."""
        listeners = [sock.dup() for sock in sockets or []]
        for listener in listeners:
            refuse_new(listener)
        await asyncio.sleep(HANDSHAKE_S)
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        # Once the loop has let go of its sockets, the copies here are the last: nothing is accepted after them.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        accepted = [connection for listener in listeners for connection in _accept_rest(listener)]
        loop = asyncio.get_running_loop()
        before = frozenset() if self._handshakes is None else self._handshakes.running
        taking = (loop.connect_accepted_socket(self._protocol, sock) for sock in accepted)
        await asyncio.gather(*taking, return_exceptions=True)
        # A client may leave, or fall silent, in the middle of its TLS handshake; the others are taken all the same.
        if self._handshakes is not None and (begun := self._handshakes.running - before):
            await asyncio.wait(begun, timeout=_TLS_HANDSHAKE_S)
        await super().shutdown(sockets)

    def _accept(self, **given: Any) -> asyncio.BaseProtocol:
        """What uvicorn asks for at each connection, where the port speaks TLS."""
        assert self._handshakes is not None
        return self._handshakes.accept(self._make(**given))

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        made: asyncio.Protocol = make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return made


def refuse_new(listener: socket.socket) -> None:
    """Let a listening socket drop every new SYN, while handshakes that have begun still finish.

    A connection whose handshake ends between the last accept and the close would be reset with the request it already
    carries. A SYN that is dropped is sent again, finds no listener, and is refused as it should be. Linux only; elsewhere the
    moment of that race remains.
    """
    if sys.platform != "linux":
        return
    # Classic BPF over the TCP header: byte 13 holds the flags, 0x02 is SYN; 0 drops the segment. (linux/filter.h)
    steps = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    with contextlib.suppress(OSError):
        program = struct.pack("HL", len(steps), ctypes.addressof(code))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _accept_rest(listener: socket.socket) -> list[socket.socket]:
    """Everything that waits in a listener's backlog; the listener is closed."""
    listener.setblocking(False)
    accepted = []
    with listener, contextlib.suppress(BlockingIOError):
        while True:
            accepted.append(listener.accept()[0])
    return accepted
