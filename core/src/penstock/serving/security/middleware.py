"""The guard before everything that goes through the web framework, and before the hot routes' handlers.

    request --> Guarded (ASGI) --admitted--> FastAPI          hot request --> admit_exchange --True--> handler
                        \\------> 401 | 403 | 429                                    \\------> the exchange has its answer

Invariant: a request that is refused here has reached nothing else, and its body has not been read.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from penstock.errors import PenstockError, Unauthenticated
from penstock.serving.context import request_id
from penstock.serving.security.guard import Guard, Undecided, settled
from penstock.serving.security.scopes import Caller
from penstock.serving.shell import Shell
from penstock.serving.status import error_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.serving.fast_exchange import FastExchange

_waiting: "set[asyncio.Task[None]]" = set()


class Guarded:
    """An ASGI middleware. WebSocket handshakes that come this way are refused as HTTP would be."""

    def __init__(self, app: Any, guard: Guard, shell: Shell | None = None) -> None:
        self.app = app
        self.guard = guard
        self.shell = shell

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        try:
            caller = await self._admitted(scope)
        except PenstockError as error:
            await self._refuse(scope, send, error)
            return
        scope["caller"] = caller
        await self.app(scope, receive, send)

    async def _admitted(self, scope: Any) -> Any:
        method, path, query = scope.get("method", "GET"), scope["path"], scope.get("query_string", b"")
        headers, peer = _headers(scope), scope["client"][0] if scope.get("client") else ""
        try:
            return self.guard.admit_path(method, path, query, headers, peer)
        except Undecided as undecided:
            await settled(undecided)
        return self.guard.admit_path(method, path, query, headers, peer)

    async def _refuse(self, scope: Any, send: Any, error: PenstockError) -> None:
        headers = dict(scope["headers"])
        identity = request_id(headers)
        path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
        status, body, content_type, lines = error_response(error, path)
        if self.shell is not None:
            counters = self.shell.metrics.none
            self.shell.record(counters, time.monotonic(), 0, len(body), error, identity, headers)
        answer = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), (b"x-request-id", identity)]
        answer += [(name, value) for name, _, value in (line.partition(b": ") for line in lines.split(b"\r\n")) if name]
        kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
        await send({"type": f"{kind}.start", "status": status, "headers": answer})
        await send({"type": f"{kind}.body", "body": body if scope.get("method") != "HEAD" else b""})


def _headers(scope: Any) -> dict[bytes, bytes]:
    """Headers by name. Raises Unauthenticated for two Authorization headers: two readers might each take another."""
    found = dict(scope["headers"])
    if sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
        raise Unauthenticated("expected one Authorization header", field="Authorization")
    return found


def admit_exchange(guard: Guard, exchange: "FastExchange", run: "Callable[[FastExchange], None]") -> bool:
    """Whether a hot request may go on. If not, it has its answer, or will have it: `run` goes on with it once keys are there."""
    try:
        exchange.caller = guard.admit_hot(exchange.path, exchange.query, exchange.headers, _peer(exchange))
    except Undecided as undecided:
        task = asyncio.ensure_future(_admit_later(guard, exchange, run, undecided))
        _waiting.add(task)
        task.add_done_callback(_waiting.discard)
        return False
    except PenstockError as error:
        exchange.request_id = request_id(exchange.headers)
        exchange.fail(error)
        return False
    return True


async def _admit_later(
    guard: Guard, exchange: "FastExchange", run: "Callable[[FastExchange], None]", undecided: Undecided
) -> None:
    await settled(undecided)
    try:
        exchange.caller = guard.admit_hot(exchange.path, exchange.query, exchange.headers, _peer(exchange))
    except PenstockError as error:
        exchange.request_id = request_id(exchange.headers)
        exchange.fail(error)
    else:
        run(exchange)


def caller_of(exchange: object) -> Caller | None:
    """Who a guard found an exchange's caller to be; None where there is no guard."""
    return getattr(exchange, "caller", None)


def _peer(exchange: "FastExchange") -> str:
    client = exchange.protocol.client
    return client[0] if client else ""
