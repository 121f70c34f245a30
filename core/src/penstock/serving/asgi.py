"""Hot routes' handlers reached through the web framework, for requests in an unusual form.

    FastAPI --(chunked, Expect, HTTP/1.0, a header twice …)--> hot_endpoint --> AsgiExchange --> the same handler --> Response

Invariant: a handler cannot tell which way it was reached, and the answer is the same but for the framing.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from penstock.errors import InvalidInput, NotReady, PenstockError, TooLarge
from penstock.metrics import InFlight
from penstock.serving.context import joined, request_id
from penstock.serving.exchange import HotHandler
from penstock.serving.faults import fault
from penstock.serving.routes import Streamed
from penstock.serving.security.scopes import Caller
from penstock.serving.shell import Reservation, Shell
from penstock.serving.status import error_response

logger = logging.getLogger(__name__)


class AsgiExchange:
    """Implements `penstock.serving.exchange.Exchange` over a framework's request; `done` is set when it is answered."""

    def __init__(self, shell: Shell, request: Request, body: bytes, params: tuple[str, ...]) -> None:
        self.shell = shell
        self.path: bytes = request.scope.get("raw_path") or request.url.path.encode()
        self.query: bytes = request.scope.get("query_string", b"")
        self.body = body
        self.params = params
        self.headers: dict[bytes, bytes] = single_headers(request)
        self.started = time.monotonic()
        self.request_id = b""
        self.disconnected = False
        self.response: Response | None = None
        self.done = asyncio.Event()
        self.counters = shell.metrics.none
        self.flying: InFlight | None = None
        self.caller: Caller | None = request.scope.get("caller")

    def header(self, name: bytes) -> bytes | None:
        return self.headers.get(name)

    def take_off(self) -> None:
        """Count the request as in progress, until it is answered or its caller has left."""
        self.flying = self.shell.metrics.in_flight(self.params[0] if self.params else "")
        self.flying.count += 1

    def land(self) -> None:
        if self.flying is not None:
            self.flying.count -= 1
            self.flying = None

    def served_by(self, model: str, bundle: str) -> None:
        self.counters = self.shell.metrics.model(model, bundle)

    def answer(self, status: int, body: bytes, content_type: bytes = b"application/json", headers: bytes = b"") -> None:
        self._respond(status, body, content_type, headers, None)

    def fail(self, error: PenstockError) -> None:
        status, body, content_type, headers = error_response(error, self.path)
        self._respond(status, body, content_type, headers, error)

    def _respond(self, status: int, body: bytes, content_type: bytes, headers: bytes, error: PenstockError | None) -> None:
        if self.response is not None:
            return
        self.land()
        identity = self.request_id or request_id(self.headers)
        lines = headers + self.counters.header + b"x-request-id: %b\r\n" % identity
        self.response = plain_response(status, body, content_type, lines)
        self.done.set()
        if not self.disconnected:
            self.shell.record(self.counters, self.started, len(self.body), len(body), error, identity, self.headers)


def hot_endpoint(
    handler: HotHandler, names: tuple[str, ...], streamed: Streamed | None = None
) -> Callable[[Request], Awaitable[Response]]:
    """A framework endpoint that runs a hot route's handler, or its streamed form for a request that asks for that.

    `names` are the path parameters, in the order of the template.
    """

    async def endpoint(request: Request) -> Response:
        shell: Shell = request.app.state.shell
        if streamed is not None and streamed.matches(single_headers(request)):
            response: Response = await streamed.endpoint(request)
            return response
        exchange = AsgiExchange(shell, request, b"", tuple(str(request.path_params[name]) for name in names))
        held = Reservation(shell)
        try:
            return await _answered(handler, request, exchange, held)
        finally:
            held.release()

    return endpoint


async def _answered(handler: HotHandler, request: Request, exchange: AsgiExchange, held: Reservation) -> Response:
    """Read the body, hand the request to its handler, and wait for the answer."""
    shell = exchange.shell
    try:
        limit = shell.routes.body_limit(exchange.path, shell.limits.body_bytes)
        exchange.body = await read_body(request, limit, held)
        if shell.starting:
            raise NotReady("starting: the model is being loaded")
        exchange.take_off()
        handler(exchange)
    except PenstockError as error:
        exchange.fail(error)
    except HTTPException as error:  # the body is over its limit, see `serving.framing`
        exchange.fail(TooLarge(str(error.detail).removeprefix("body: "), field="body"))
    except ClientDisconnect:
        exchange.disconnected = True
        return Response(status_code=499)
    except Exception as error:
        exchange.fail(fault(logger, "handler failed", error, exchange.request_id))
    return await _answer(request, exchange)


async def read_body(request: Request, limit: int, held: Reservation | None = None) -> bytes:
    """The whole body, read as it comes. Raises TooLarge as soon as it is over `limit` bytes, without reading on, and Overloaded
    if `held` cannot grow with it.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"expected a body of at most {limit} bytes, got Content-Length: {declared}", field="body")
    parts: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit:
            raise TooLarge(f"expected a body of at most {limit} bytes, got more", field="body")
        if held is not None:
            held.grow(total)
        parts.append(chunk)
    return b"".join(parts)


async def read_members(request: Request, limit: int) -> dict[str, Any]:
    """The members of a body that is a JSON object; none for an empty body. Raises InvalidInput or TooLarge."""
    body = await read_body(request, limit)
    if not body.strip():
        return {}
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"expected JSON: {error}", field="body") from None
    if not isinstance(members, dict):
        raise InvalidInput("expected a JSON object", field="body")
    return members


def single_headers(request: Request) -> dict[bytes, bytes]:
    """Headers by lower-case name; one given several times is joined by commas (RFC 9110, 5.3)."""
    return joined(request.scope["headers"])


def plain_response(status: int, body: bytes, content_type: bytes, lines: bytes) -> Response:
    """A framework response with these header lines (each `name: value` ending in CR LF)."""
    response = Response(body, status)
    response.raw_headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b": ")
        if colon:
            response.raw_headers.append((name, value))
    return response


async def _answer(request: Request, exchange: AsgiExchange) -> Response:
    """Wait for the answer, and notice when the caller leaves before it."""
    if exchange.response is None:
        left = asyncio.ensure_future(_until_left(request, exchange))
        try:
            await exchange.done.wait()
        finally:
            exchange.disconnected = exchange.disconnected or exchange.response is None
            exchange.land()
            left.cancel()
    return exchange.response or Response(status_code=499)


async def _until_left(request: Request, exchange: AsgiExchange) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    exchange.disconnected = True
    exchange.done.set()
