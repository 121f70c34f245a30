"""A server beside the HTTP server of one process: gRPC today.

It shares the process's data plane, counters, limits and lifecycle, has a port of its own, and comes up and goes down with the
HTTP server: live before it is ready, drained when HTTP drains.
"""

from typing import Protocol


class SideServer(Protocol):
    """`port` is what was asked for until `start` returns, then the port that is served. `shared`: several processes of one
    program bind the same port (SO_REUSEPORT); set before `start`."""

    name: str
    port: int
    shared: bool

    async def start(self) -> None:
        """Bind and serve. Raises OSError if the port is taken, InvalidInput for settings that it cannot serve with."""

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, finish what was taken, cut what is left after `timeout_s`. A second call may shorten the time; one
        before `start` does nothing. Never raises."""
