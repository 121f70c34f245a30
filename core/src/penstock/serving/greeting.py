"""What happens to a connection before its first byte: a peer that vanishes will be noticed, one too many is turned away.

    connection --> keep-alive probes on --> within the limit? --no--> 503, read and dropped for a moment, closed

A process that runs out of file descriptors answers nobody, health checks included; a refusal that can be read is better. The
limit leaves files for everything else that a process opens.
"""

import resource
import socket
from typing import TYPE_CHECKING

from penstock.serving.cycles import write_last_answer

if TYPE_CHECKING:
    from penstock.serving.fast import FastProtocol

# Probes begin after a minute of silence and give a peer up after one more.
_PROBES = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))
_OTHER_FILES = 256


def greet(protocol: "FastProtocol") -> None:
    """Called once for each connection, when it is made."""
    sock = protocol.transport.get_extra_info("socket")
    if sock is not None:
        watch_peer(sock)
    most = protocol.shell.limits.connections
    if len(protocol.connections) > most:
        # Twice the limit is a flood that no answer will stop.
        if len(protocol.connections) > 2 * most:
            protocol.transport.abort()
        else:
            _turn_away(protocol, f"too many connections: this server takes {most}; try another, or later")


def _turn_away(protocol: "FastProtocol", message: str) -> None:
    """Answer before there is a request; what the client sends is dropped, so that it gets to read the answer."""
    protocol.fault = (503, message)
    write_last_answer(protocol, 503, message, b"", b"retry-after: 1\r\n")
    protocol.linger()


def watch_peer(sock: socket.socket) -> None:
    """Let the kernel find out whether the peer of a silent connection is still there."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES:
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def most_connections(asked: int) -> int:
    """As many as were asked for, but no more than the process may open files for; all of those if 0 were asked for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = soft - min(_OTHER_FILES, soft // 2) if soft != resource.RLIM_INFINITY else 1 << 20
    return min(asked or allowed, allowed)
