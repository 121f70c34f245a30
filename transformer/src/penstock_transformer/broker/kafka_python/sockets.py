"""Connections of kafka-python that close their socket when they come to nothing, and whose last answer is heard.

kafka-python leaves the socket of a failed attempt to the garbage collector: while a broker is away these pile up, one for each
attempt. Its place for proxies is where another way to connect is put in.
What arrives together with the end of the connection kafka-python throws away: so to a busy process a log-in that was refused
looks like a broker that is away. The end is told with the next read here.
"""

from collections.abc import Callable
from typing import Any

from kafka.net.inet import KafkaNetSocket
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

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


def _end_told_last(receive: Callable[[Any], tuple[bytes, Exception | None]]) -> Callable[[Any], tuple[bytes, Exception | None]]:
    def received(transport: Any) -> tuple[bytes, Exception | None]:
        data, end = receive(transport)
        # The socket is at its end whenever it is asked again.
        return (data, None) if data else (data, end)

    return received


for _transport in (KafkaTCPTransport, KafkaSSLTransport):
    _transport._sock_recv = _end_told_last(_transport._sock_recv)
