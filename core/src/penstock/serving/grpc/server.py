"""The gRPC server of one process: a grpc.aio server whose handlers take and give bytes.

    start: bind -> serve (live, not ready)
    drain: streams stop reading, watches end, no new connections -> calls go on until callers have moved -> GOAWAY -> calls finish

gRPC's own end of a server cancels the calls that reach it between its GOAWAY and the GOAWAY's arrival at the caller; a GOAWAY for
a connection's age loses none. So connections live for less time than a drain may take, and a drain waits until no call has come
for a moment: callers who are busy have moved on by then, and those who are not have nothing to lose.

Why grpc.aio, and what it costs: docs/decisions/0009-grpc-server.md.

Invariant: a port that somebody else holds is an error, never shared by chance (gRPC's own default is to share it).
"""

import asyncio
import errno
import logging
import math
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.dataplane import DataPlane
from penstock.errors import InvalidInput
from penstock.metrics import Snapshot
from penstock.protocol.limits import Limits
from penstock.repository import ModelRepository
from penstock.serving.grpc.listeners import close_listeners
from penstock.serving.shell import Shell

if TYPE_CHECKING:
    import grpc

    from penstock.serving.grpc.handlers import Handlers
    from penstock.serving.grpc.service import Snapshots

logger = logging.getLogger(__name__)

# Calls of one process, whatever they are; more are refused by gRPC before their messages are looked at.
MOST_CALLS = 8192
# Of one connection.
_MOST_STREAMS = 1024
_METADATA_BYTES = 16 * 1024
# A connection whose other side is gone is found out within these two.
_PING_AFTER_S = 60
_PING_ANSWER_S = 20
# A connection that has not said what it wants by then, TLS or not, is closed: as long as HTTP's handshakes have.
_GREETING_S = 60
# Callers may ping this often, with or without a call under way.
_LEAST_PING_GAP_S = 5
# A connection is told to move on after this part of a drain's time, give or take a tenth (gRPC's doing); its calls finish. Its
# caller also sees pods that were added since.
_AGE_OF_DRAIN = 0.7
_LEAST_AGE_S = 1.0
# Callers have moved when none has called for so long; and this much of a drain's time is kept for calls to finish.
_QUIET_S = 0.25
_LOOK_S = 0.05
_FINISH_OF_DRAIN = 0.1


class GrpcServer:
    """Implements `penstock.serving.side_server.SideServer`. `credentials` is asked at start; None serves plain text. `snapshots`:
    the counters of every worker; left out, those of this process."""

    name = "grpc"

    def __init__(
        self,
        plane: DataPlane,
        shell: Shell,
        *,
        host: str,
        port: int,
        limits: Limits,
        drain_timeout_s: float = 25.0,
        repository: ModelRepository | None = None,
        snapshots: "Snapshots | None" = None,
        credentials: "Callable[[], grpc.ServerCredentials] | None" = None,
    ) -> None:
        self.port = port
        self.shared = False
        self._plane = plane
        self._shell = shell
        self._host = host
        self._limits = limits
        self._age_s = max(_LEAST_AGE_S, drain_timeout_s * _AGE_OF_DRAIN)
        self._repository = repository
        self._snapshots = snapshots or self._own_snapshots
        self._credentials = credentials
        self._server: grpc.aio.Server | None = None
        self._table: Handlers | None = None
        self._deadline = math.inf

    async def start(self) -> None:
        """Bind and serve. Raises OSError if the port is taken, InvalidInput if grpcio is not installed."""
        # Here, not above: it costs time and memory that a program with the port off should not pay.
        # The core's own log has a form of its own, and callers can fill it at will.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        # Sockets are read by the thread that hands their calls on, not by one more, which costs a tenth of a call. Without it
        # (gRPC may drop the switch, and ignores one that it does not know) everything works as before.
        os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
        try:
            from penstock.serving.grpc.handlers import handlers
        except ImportError as error:
            raise InvalidInput(
                f"{error.name} is not installed: pip install 'penstock[grpc]', or switch gRPC off with --grpc_port -1",
                field="grpc_port",
            ) from None
        import grpc

        table = handlers(self._plane, self._shell, self._limits, self._repository, self._snapshots)
        server = grpc.aio.server(options=self._options(), maximum_concurrent_rpcs=MOST_CALLS)
        server.add_generic_rpc_handlers((table,))
        self.port = self._bind(server)
        await server.start()
        self._server = server
        self._table = table

    async def _own_snapshots(self) -> list[Snapshot]:
        return self._shell.metrics.snapshot()

    def _bind(self, server: "grpc.aio.Server") -> int:
        """The port that was bound. gRPC says only that it failed; a socket of our own says why."""
        self._try_port()
        address = f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"
        try:
            if self._credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self._credentials())
        except RuntimeError:
            port = 0
        if not port:
            raise OSError(errno.EADDRINUSE, f"gRPC cannot listen on {address}: {os.strerror(errno.EADDRINUSE)}")
        return int(port)

    def _try_port(self) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.shared:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                probe.bind((self._host, self.port))
            except OSError as error:
                reason = f"gRPC cannot listen on {self._host}:{self.port}: {error.strerror}"
                raise OSError(error.errno, reason) from None

    def _options(self) -> list[tuple[str, Any]]:
        """Channel arguments, by the names of gRPC's `channel_arg_names.h`."""
        limits = self._shell.limits
        return [
            ("grpc.so_reuseport", int(self.shared)),
            # Messages up to twice the limit are read whole, so that their refusal can name the limit as everywhere else.
            ("grpc.max_receive_message_length", min(2 * self._limits.body_bytes, 2**31 - 1)),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", _MOST_STREAMS),
            ("grpc.max_metadata_size", _METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", limits.head_bytes),
            ("grpc.keepalive_time_ms", _PING_AFTER_S * 1000),
            ("grpc.keepalive_timeout_ms", _PING_ANSWER_S * 1000),
            # The one above alone leaves a peer that is gone connected for a minute more (seen with gRPC 1.85).
            ("grpc.http2.ping_timeout_ms", _PING_ANSWER_S * 1000),
            ("grpc.server_handshake_timeout_ms", _GREETING_S * 1000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", _LEAST_PING_GAP_S * 1000),
            ("grpc.max_connection_idle_ms", limits.keep_alive_s * 1000),
            ("grpc.max_connection_age_ms", round(self._age_s * 1000)),
        ]

    async def drain(self, timeout_s: float) -> None:
        """Take no new calls, finish those that run, cut what is left after `timeout_s`. A second call may shorten the time."""
        if self._server is None or self._table is None:
            return
        again = self._deadline < math.inf
        self._deadline = min(self._deadline, time.monotonic() + timeout_s)
        if not again:
            for stop in self._table.stops:
                stop()
            await close_listeners(self.port)
            await self._wait_until_quiet(self._table, self._deadline - timeout_s * _FINISH_OF_DRAIN)
        await self._server.stop(max(0.0, self._deadline - time.monotonic()))

    async def _wait_until_quiet(self, table: "Handlers", until: float) -> None:
        """Until no call has come for a moment, `until` at most; a second drain cuts it short."""
        while True:
            now = time.monotonic()
            if now - table.last_call >= _QUIET_S or now >= min(until, self._deadline):
                return
            await asyncio.sleep(_LOOK_S)
