"""What both clients need of httpx, and nothing else of the package does: settings, time-outs, and its errors as faults.

Invariant: no exception of httpx leaves the client.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from penstock.client.call import Answer
from penstock.client.retrying import Fault
from penstock.errors import InvalidInput

CONNECT_S = 5.0
"""The longest wait for a connection, which is short where a server is there at all."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def checked_url(url: str) -> str:
    """The server's address without a slash at its end; `http://` where no scheme is given. Raises InvalidInput."""
    full = (url if "://" in url else f"http://{url}").rstrip("/")
    parts = urlsplit(full)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidInput(f"expected an address like http://127.0.0.1:8080, got {url!r}", field="url")
    return full


def timeouts(left_s: float | None) -> httpx.Timeout:
    """Time-outs of one try that has `left_s` seconds left."""
    return httpx.Timeout(left_s, connect=CONNECT_S if left_s is None else min(CONNECT_S, left_s))


def answer_of(response: httpx.Response, body: bytes) -> Answer:
    return Answer(response.status_code, dict(response.headers), body)


def fault_of(error: httpx.HTTPError) -> tuple[Fault, str]:
    """What an error of httpx means for the try, and its words. Raises InvalidInput for a request that cannot be sent."""
    cause = str(error) or type(error).__name__
    if isinstance(error, _NOT_SENT):
        return Fault.NOT_SENT, f"{error.request.url.netloc.decode('ascii')}: {cause}"
    if isinstance(error, httpx.TimeoutException):
        return Fault.TIMED_OUT, cause
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        raise InvalidInput(f"the request cannot be sent: {cause}")
    return Fault.LOST, cause


def standing_headers(headers: Mapping[str, str] | None, token: str | None) -> dict[str, str]:
    """What every request carries, by lower-case name."""
    standing = {name.lower(): value for name, value in (headers or {}).items()}
    if token is not None:
        standing["authorization"] = f"Bearer {token}"
    return standing
