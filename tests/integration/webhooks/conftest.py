"""Receivers of webhooks: real HTTP servers on this machine that answer as told, over TLS or not; and empty databases."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock_transformer.predictions.webhook_settings import WebhookSettings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes
    peer: str


@dataclass
class Receiver:
    """Answers requests in their order as `answers` says, then with 204. `most` is how often one id was under way at once."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    most: Counter[str] = field(default_factory=Counter)
    port: int = 0
    hold: asyncio.Event | None = None
    _now: Counter[str] = field(default_factory=Counter)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> Any:
        """Listen on a port that the kernel chose."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def until(self, count: int) -> list[Request]:
        """The requests, once there are so many."""
        async with asyncio.timeout(30):
            while len(self.requests) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.requests

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        line, *rest = head.split("\r\n")
        headers = {name.lower(): value for name, value in (text.split(": ", 1) for text in rest if text)}
        body = await reader.readexactly(int(headers["content-length"]))
        who = headers["webhook-id"]
        self._now[who] += 1
        self.most[who] = max(self.most[who], self._now[who])
        self.requests.append(Request(line, headers, body, writer.get_extra_info("peername")[0]))
        self._changed.set()
        answer = self.answers.pop(0) if self.answers else OK
        try:
            if self.hold is not None:
                await self.hold.wait()
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except ConnectionError:
            pass
        finally:
            self._now[who] -= 1
            writer.close()


def settings(**changes: Any) -> WebhookSettings:
    """Settings under which a receiver on this machine may be sent to."""
    usual: dict[str, Any] = {
        "webhook_http": True,
        "webhook_networks": ("127.0.0.0/8",),
        "webhook_ports": (0,),
        "webhook_first_retry_s": 0.0,
    }
    return WebhookSettings(webhook_secret=SECRET, **(usual | changes))


@pytest.fixture
def receiver() -> Callable[..., Receiver]:
    return Receiver


@pytest.fixture
def allowed() -> Callable[..., WebhookSettings]:
    return settings


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/predictions.db"
    url: str = request.getfixturevalue("own_schema")
    return url
