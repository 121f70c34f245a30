"""TLS handshakes of a listener, watched, so that a refused one can be told with who it was and why.

    accepted connection -> the loop's own TLS protocol --done--> the HTTP protocol behind it
                                                   \\--failed--> logged, once per peer and minute; closed

An event loop that is given a TLS context for its listener keeps a failed handshake to itself: the caller of a port with mutual
TLS sees a closed connection, and nobody sees why. Here the listener is a plain one, and each connection gets the TLS protocol
that the loop would have put before it, with somebody who waits for its handshake.
"""

import asyncio
import asyncio.sslproto
import logging
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 60.0
QUIET_S = 60.0
_MOST_PEERS = 1024


class Refusals:
    """Which peers were told of lately; of more than a bounded number the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}

    def due(self, peer: str) -> bool:
        """Whether a refusal of this peer is to be logged now; then it counts as logged."""
        now = self._clock()
        if now - self._told.get(peer, -QUIET_S) < QUIET_S:
            return False
        self._told.pop(peer, None)
        while len(self._told) >= _MOST_PEERS:
            del self._told[next(iter(self._told))]
        self._told[peer] = now
        return True


class Handshakes:
    """The handshakes of one listener. `accept` makes what the loop asks for at each connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._refusals = Refusals()
        self._running: set[asyncio.Future[None]] = set()

    def accept(self, behind: asyncio.Protocol) -> asyncio.BaseProtocol:
        """A protocol for an accepted connection, which hands it to the one behind once it speaks TLS."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        made: Any = _protocol_of(loop)(
            loop, behind, self._context, waiter, server_side=True, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
        )
        self._running.add(waiter)
        waiter.add_done_callback(partial(self._ended, made))
        return made  # type: ignore[no-any-return]

    @property
    def running(self) -> frozenset["asyncio.Future[None]"]:
        """Those that have not ended."""
        return frozenset(self._running)

    def _ended(self, protocol: Any, waiter: "asyncio.Future[None]") -> None:
        self._running.discard(waiter)
        if waiter.cancelled():
            return
        error = waiter.exception()
        if isinstance(error, ssl.SSLError) and self._refusals.due(protocol.peer):
            reason = (getattr(error, "verify_message", None) or error.reason or "failed").lower().replace("_", " ")
            logger.warning("TLS handshake refused", extra={"peer": protocol.peer, "reason": reason})


def _watched(base: Any) -> Any:
    """The TLS protocol of a loop that remembers who is on the other side."""

    class Watched(base):  # type: ignore[misc]
        peer = ""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            name = transport.get_extra_info("peername")
            self.peer = str(name[0]) if name else ""
            super().connection_made(transport)

    return Watched


_protocols: dict[str, Any] = {}


def _protocol_of(loop: asyncio.AbstractEventLoop) -> Any:
    """uvloop's transports know uvloop's TLS and hand it their bytes without a copy; any other loop takes asyncio's."""
    kind = type(loop).__module__
    if kind not in _protocols:
        if kind.startswith("uvloop"):
            import uvloop.loop

            base: Any = vars(uvloop.loop)["SSLProtocol"]  # its stubs do not name it
        else:
            base = asyncio.sslproto.SSLProtocol
        _protocols[kind] = _watched(base)
    return _protocols[kind]
