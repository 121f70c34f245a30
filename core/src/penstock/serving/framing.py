"""A small middleware for what every answer of the application has: the request id; and HEAD, answered as GET without a body."""

from typing import Any

from penstock.serving.context import request_id


class Framing:
    """Adds `X-Request-Id` to answers that lack it, and routes HEAD as GET."""

    def __init__(self, app: Any) -> None:
        self.app = app

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

        async def send_with_id(message: Any) -> None:
            if message["type"] == "http.response.start" and not any(name == b"x-request-id" for name, _ in message["headers"]):
                message["headers"] = [*message["headers"], (b"x-request-id", identity)]
            await send(message)

        await self.app(scope, receive, send_with_id)
