"""The listening sockets that gRPC's core made, closed without closing the server.

The core takes new connections until its server stops, and stopping loses calls (see `server`). It gives its sockets to nobody, so
they are found among the process's own. Linux only: elsewhere they stay open until the server stops.
"""

import asyncio
import contextlib
import os
import socket
import stat
import sys

from penstock.serving.quiet_server import HANDSHAKE_S, refuse_new


async def close_listeners(port: int) -> None:
    """Let no new connection be made to a port that this process listens on, and lose none that is being made."""
    listeners = _listeners(port)
    for listener in listeners:
        refuse_new(listener)
    # Handshakes that have begun end, and the core accepts them.
    await asyncio.sleep(HANDSHAKE_S if listeners else 0)
    for listener in listeners:
        with listener, contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RD)


def _listeners(port: int) -> list[socket.socket]:
    """Copies of this process's sockets that listen on a TCP port."""
    found: list[socket.socket] = []
    if sys.platform != "linux":
        return found
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode):
                continue
            copy = socket.socket(fileno=os.dup(int(name)))
            inet = copy.family in (socket.AF_INET, socket.AF_INET6)
            if inet and copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and copy.getsockname()[1] == port:
                found.append(copy)
            else:
                copy.close()
    return found
