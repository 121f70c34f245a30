"""Which web pages may call from a browser (CORS): their origins, and the headers they may send and read."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from penstock.errors import InvalidInput

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
REQUEST_HEADERS = [
    "Authorization", "Content-Type", "Idempotency-Key", "Inference-Header-Content-Length", "Penstock-Expect-Bundle",
    "Penstock-Priority", "Penstock-Route-Key", "Penstock-Timeout-Ms", "Penstock-Webhook", "Prefer", "traceparent", "X-Request-Id",
]  # fmt: skip
EXPOSED_HEADERS = [
    "Inference-Header-Content-Length", "Location", "Penstock-Bundle", "Preference-Applied", "Retry-After", "Retry-After-Ms",
    "X-Request-Id",
]  # fmt: skip


def page_may_call(origin: bytes | None, host: bytes | None, origins: Sequence[str]) -> bool:
    """Whether a page of this origin may open a WebSocket, which browsers let any page do: one that was served by this very host,
    or one of `origins`. Without an origin it is no page that asks."""
    if origin is None or "*" in origins:
        return True
    text = origin.decode("latin-1").lower()
    return text in origins or (host is not None and text.partition("://")[2] == host.decode("latin-1").lower() != "")


def check_origins(origins: Sequence[str]) -> None:
    """Raises InvalidInput unless each is `*` or scheme://host[:port], as browsers send it."""
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and (not parts.scheme or not parts.netloc or f"{parts.scheme}://{parts.netloc}".lower() != origin):
            raise InvalidInput(
                f"expected https://host[:port] in lower case without a path, or *, got {origin!r}", field="cors_origins"
            )
