"""Connections of kafka-python that close their socket when they come to nothing.

kafka-python leaves the socket of a failed attempt to the garbage collector: while a broker is away these pile up, one for each
attempt. Its place for proxies is where another way to connect is put in.
"""

from typing import Any

from kafka.net.inet import KafkaNetSocket

DIRECT = "direct:"


class DirectSocket(KafkaNetSocket):  # type: ignore[misc]
    """No proxy at all."""

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: Any, sockaddr: Any, timeout_at: float | None = None) -> Any:
        """kafka-python's own, and the socket closed if it fails."""
        try:
            return await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise
