"""Where a predictor's pods are: addresses as they are given, by DNS, or (`cluster_endpoints`) from the Kubernetes API.

    source --on_change(endpoints)--> Spread

DNS says nothing of changes: it is asked again every few seconds, and the address of a Service stays the same whatever pods are
behind it, so connections to what DNS named are used for a bounded time only.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger(__name__)

DNS_REFRESH_S = 5.0
_FIRST_RETRY_S = 0.2


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address that takes connections. `lasting`: it is one pod's own, so a connection to it never goes stale."""

    host: str
    port: int
    lasting: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Listener = Callable[[tuple[Endpoint, ...] | None, str], None]
"""Hears of all endpoints, or of None and the reason where they cannot be had; what was known before then stays."""


class EndpointSource(Protocol):
    """Tells where the pods are, from `start` to `close`."""

    def start(self, listener: Listener) -> None:
        """Begin; the listener is called on the loop, now or later, and at every change. On a running loop."""

    async def close(self) -> None: ...


class FixedEndpoints:
    """An address that needs no looking up."""

    def __init__(self, host: str, port: int) -> None:
        self._endpoint = Endpoint(host, port, lasting=True)

    def start(self, listener: Listener) -> None:
        listener((self._endpoint,), "")

    async def close(self) -> None:
        return


class DnsEndpoints:
    """The addresses of a name: the pods of a headless Service, or the one of a Service."""

    def __init__(self, host: str, port: int, *, refresh_s: float = DNS_REFRESH_S) -> None:
        self._host = host
        self._port = port
        self._refresh_s = refresh_s
        self._task: asyncio.Task[None] | None = None

    def start(self, listener: Listener) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(listener))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, listener: Listener) -> None:
        known: tuple[Endpoint, ...] = ()
        while True:
            try:
                found = await self._resolve()
            except (OSError, UnicodeError) as error:  # a name that IDNA does not take is no OSError
                listener(None, f"{self._host} cannot be resolved: {getattr(error, 'strerror', None) or error}")
            else:
                if found != known:
                    known = found
                    listener(found, "")
            await asyncio.sleep(self._refresh_s if known else min(self._refresh_s, _FIRST_RETRY_S))

    async def _resolve(self) -> tuple[Endpoint, ...]:
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=1)
        return tuple(sorted({Endpoint(str(entry[4][0]), self._port) for entry in found}))


def is_address(host: str) -> bool:
    """Whether a host is an IP address, or this machine's own name, which needs no looking up again."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
