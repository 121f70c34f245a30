"""The console's files, as they are served: a page without data, which asks the API for all that it shows.

They hold nothing that a stranger may not have, and are served without credentials: a browser that follows a link brings none. The
page asks for a key, keeps it in its own memory, and sends it with each call.

Invariant: nothing is loaded from elsewhere, no script or style stands in the page itself, and no other site can frame it.
"""

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response

PAGE, SCRIPT, STYLE = "/console/queues", "/console/queues.js", "/console/queues.css"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
_SCRIPT_TYPE = "text/javascript; charset=utf-8"
_FILES = {
    PAGE: ("console.html", "text/html; charset=utf-8"),
    SCRIPT: ("console.js", _SCRIPT_TYPE),
    STYLE: ("console.css", "text/css; charset=utf-8"),
    # What the script imports, by the names under which it does.
    **{f"{PAGE}/{name}": (name, _SCRIPT_TYPE) for name in ("letters.js", "page.js", "server.js")},
}


def console_router() -> APIRouter:
    """The console's routes."""
    router = APIRouter(include_in_schema=False)
    for path in _FILES:
        router.add_api_route(path, _serve, methods=["GET"])
    return router


async def _serve(request: Request) -> Response:
    name, media_type = _FILES[request.scope["path"]]
    content, tag = _content(name)
    headers = {**_HEADERS, "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


@cache
def _content(name: str) -> tuple[bytes, str]:
    content = files("penstock_transformer.queues").joinpath(name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:20]}"'
