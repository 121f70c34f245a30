"""Where a webhook goes: a URL taken apart strictly, its name looked up once, every address of it checked.

    url --read_target--> Target --Policy.resolve--> addresses, all of them allowed   (the sender connects to these, by number)

Invariant: whoever sends is given addresses that were checked, never a name: a name can change its mind.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock_transformer.predictions.addresses import Address, check_address
from penstock_transformer.predictions.webhook_settings import WebhookSettings

FIELD = "webhook"
_LONGEST = 2048
# No userinfo, fragment, zone, escape in the host, backslash or blank: what two parsers could read in two ways is not read at all.
_URL = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9_.-]{1,253}))(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>[/?][A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.ASCII,
)
# A last label of digits makes browsers and resolvers read the whole as a number in one of many notations.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
_LOOKUPS = 4
# A caller who waits for his 202 does not wait for a slow name server.
_SUBMISSION_S = 2.0

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class Target(NamedTuple):
    """A webhook's URL in parts. `host` is a name, or an address without brackets; `path` has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The `Host` header: the name with its port, where that is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> Address | None:
        """The address that the host is written as, None for a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def read_target(url: str) -> Target:
    """A URL in parts. Raises InvalidInput, field `webhook`."""
    found = _URL.fullmatch(url) if len(url) <= _LONGEST else None
    if found is None:
        raise InvalidInput(f"expected https://HOST[:PORT]/PATH of at most {_LONGEST} plain characters", field=FIELD)
    port = int(found["port"]) if found["port"] else _PORTS[found["scheme"]]
    path = found["path"] or "/"
    target = Target(found["scheme"], (found["six"] or found["host"]).lower(), port, path if path[0] == "/" else f"/{path}")
    if found["six"] and not isinstance(target.address, ipaddress.IPv6Address):
        raise InvalidInput("expected an IPv6 address in the brackets", field=FIELD)
    if target.address is None and (_NUMERIC.fullmatch(target.host) or not target.host.strip(".")):
        raise InvalidInput("expected a host name, or an address as four decimal numbers", field=FIELD)
    return target


class Policy:
    """What the settings allow. `resolve` is the system's look-up unless a test gives another."""

    def __init__(self, settings: WebhookSettings, resolve: Resolve | None = None) -> None:
        self._settings = settings
        self._allowed = settings.webhook_allowed()
        self._threads: ThreadPoolExecutor | None = None
        self._resolve = resolve or self._look_up

    def read(self, url: str) -> Target:
        """A URL that may be sent to as far as it can be said without a look-up. Raises InvalidInput."""
        settings = self._settings
        if not settings.webhook_secret:
            raise InvalidInput("this server sends no webhooks: it has no --webhook_secret", field=FIELD)
        target = read_target(url)
        if target.scheme == "http" and not settings.webhook_http:
            raise InvalidInput("expected https://, got http://", field=FIELD)
        if 0 not in settings.webhook_ports and target.port not in settings.webhook_ports:
            ports = ", ".join(map(str, settings.webhook_ports))
            raise InvalidInput(f"expected one of the ports {ports}, got {target.port}", field=FIELD)
        if target.address is not None:
            check_address(target.address, self._allowed, FIELD)
        return target

    async def check(self, url: str) -> None:
        """What is asked at submission. Raises InvalidInput; a name that cannot be looked up now is left to the delivery."""
        target = self.read(url)
        try:
            async with asyncio.timeout(_SUBMISSION_S):
                await self.addresses(target)
        except (UpstreamUnavailable, TimeoutError):
            return

    async def addresses(self, target: Target) -> Sequence[Address]:
        """The target's addresses, all of them allowed. Raises InvalidInput if one is not: a name with a private address beside
        a public one is a trap or a mistake. Raises UpstreamUnavailable if the look-up fails."""
        if target.address is not None:
            found: Sequence[Address] = [target.address]
        else:
            try:
                async with asyncio.timeout(self._settings.webhook_timeout_s):
                    found = await self._resolve(target.host, target.port)
            except (OSError, UnicodeError, TimeoutError) as error:
                raise UpstreamUnavailable("the host's name cannot be looked up", field=FIELD) from error
        for address in found:
            check_address(address, self._allowed, FIELD)
        if not found:
            raise UpstreamUnavailable("the host's name has no address", field=FIELD)
        return found

    async def _look_up(self, host: str, port: int) -> list[Address]:
        # Threads of its own: a name server that hangs must not hold up other work of the loop's pool.
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="penstock-webhook-names")
        look_up = self._threads.submit(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
        found = await asyncio.wrap_future(look_up)
        # A scope (`fe80::1%eth0`) belongs to this machine, not to the address.
        return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))

    def close(self) -> None:
        """End the look-ups' threads without waiting for a name server."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
