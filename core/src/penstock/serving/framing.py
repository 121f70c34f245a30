"""What every request to the application has in common, whichever route it is for: one thin layer around the framework.

It gives each answer its request id, holds every body to its limit however it is sent, answers HEAD as GET without a body, and
turns a fault of ours into a plain 500. Faults end here and not in the server, which would close the connection on its client.
"""

import logging
from typing import Any

from fastapi import HTTPException

from penstock.errors import InvalidInput, PenstockError
from penstock.serving.context import request_id
from penstock.serving.faults import fault
from penstock.serving.shell import Shell
from penstock.serving.status import error_response

logger = logging.getLogger(__name__)


class Framing:
    """An ASGI middleware. `shell` knows the limits."""

    def __init__(self, app: Any, shell: Shell) -> None:
        self.app = app
        self.shell = shell

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        identity = request_id(headers)
        if b"x-request-id" not in headers:
            scope["headers"] = [*scope["headers"], (b"x-request-id", identity)]
        if scope["method"] == "HEAD":
            # uvicorn drops the body by its own scope's method; the copy is for the router.
            scope = {**scope, "method": "GET"}
        started = False

        async def send_with_id(message: Any) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start" and not any(name == b"x-request-id" for name, _ in message["headers"]):
                message["headers"] = [*message["headers"], (b"x-request-id", identity)]
            await send(message)

        try:
            hosts = sum(name == b"host" for name, _ in scope["headers"])
            if hosts != 1 and scope.get("http_version") == "1.1":
                # Two servers on the way that take different ones of several for the host are a way around both (RFC 9112, 3.2).
                wrong = InvalidInput(f"expected one Host header, got {hosts or 'none'}", field="Host")
                await _send_error(scope, send_with_id, wrong)
                return
            await self.app(scope, self._limited(scope, receive, headers), send_with_id)
        except Exception as error:
            internal = fault(logger, "request failed", error, identity)
            if started:
                raise
            await _send_error(scope, send_with_id, internal)

    def _limited(self, scope: Any, receive: Any, headers: dict[bytes, bytes]) -> Any:
        """`receive`, refusing to read a body over its path's limit; a length that is told in advance was checked before."""
        limit = self.shell.body_limit(_path(scope), headers)
        total = 0

        async def receive_limited() -> Any:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > limit:
                # The framework lets this one error through while it reads a body; any other it would call a broken body.
                raise HTTPException(413, f"body: expected a body of at most {limit} bytes, got more")
            return message

        return receive_limited


async def _send_error(scope: Any, send: Any, error: PenstockError) -> None:
    status, body, content_type, _ = error_response(error, _path(scope))
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _path(scope: Any) -> bytes:
    found: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    return found
