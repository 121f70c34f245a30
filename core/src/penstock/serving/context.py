"""A request's headers as a `Context`: who asks, how long they wait, under which trace, and which bundle they insist on.

The same names serve gRPC metadata and Kafka headers. A request id that the caller gives is kept if it is printable and short,
else one is made; either way it goes out with the answer.
"""

import itertools
import os
import re
from collections.abc import Iterable, Mapping
from typing import cast

from penstock import tracing
from penstock.dataplane import Context
from penstock.errors import InvalidInput
from penstock.serving.exchange import Exchange

_SAFE_ID = re.compile(rb"[!-~]{1,200}")
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_MAX_TIMEOUT_MS = 24 * 3600 * 1000

# A prefix for the process and a counter: unique enough for logs, and a tenth of the cost of a random id each.
_prefix = os.urandom(6).hex()
_counter = itertools.count(1)


def new_request_id() -> str:
    """A request id that no other process made."""
    return f"{_prefix}-{next(_counter):x}"


def request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """The caller's `X-Request-Id` if it can be echoed safely, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _SAFE_ID.fullmatch(given):
        return given
    return new_request_id().encode()


def joined(lines: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header lines by name; those of a name given several times are joined by commas (RFC 9110, 5.3)."""
    found: dict[bytes, bytes] = {}
    for name, value in lines:
        found[name] = found[name] + b", " + value if name in found else value
    return found


def read_context(exchange: Exchange) -> Context:
    """The context of a request, and its request id noted on the exchange. Raises InvalidInput naming the header at fault."""
    get = exchange.headers.get
    given = get(b"x-request-id")
    if given is not None and _SAFE_ID.fullmatch(given):
        identity = given.decode()
        exchange.request_id = given
    else:
        identity = new_request_id()
        exchange.request_id = identity.encode()
    timeout = get(b"penstock-timeout-ms")
    priority = get(b"penstock-priority")
    trace = get(b"traceparent")
    route_key = get(b"penstock-route-key")
    expect = get(b"penstock-expect-bundle")
    return Context(
        identity,
        deadline=None if timeout is None else exchange.started + _timeout_s(timeout),
        priority=0 if priority is None else _priority(priority),
        traceparent=None if trace is None else tracing.child(trace),
        route_key=None if route_key is None else route_key.decode("utf-8", "replace"),
        expect_bundle=None if expect is None else _digest(expect),
    )


class _Bare:
    """As much of an exchange as a context is read from."""

    __slots__ = ("headers", "request_id", "started")

    def __init__(self, headers: Mapping[bytes, bytes], started: float) -> None:
        self.headers = headers
        self.started = started
        self.request_id = b""


def context_of(headers: Mapping[bytes, bytes], started: float) -> Context:
    """The context of a request that is no exchange of its own (a message of a stream). Raises as `read_context` does."""
    return read_context(cast(Exchange, _Bare(headers, started)))


def read_limits(headers: Mapping[bytes, bytes]) -> tuple[float | None, int, str | None]:
    """How many seconds a caller waits, its priority, and the digest it insists on. Raises InvalidInput naming the header."""
    timeout, priority, expect = (
        headers.get(name) for name in (b"penstock-timeout-ms", b"penstock-priority", b"penstock-expect-bundle")
    )
    return (
        None if timeout is None else _timeout_s(timeout),
        0 if priority is None else _priority(priority),
        None if expect is None else _digest(expect),
    )


def _timeout_s(value: bytes) -> float:
    if value.isdigit() and len(value) < 12 and 0 < int(value) <= _MAX_TIMEOUT_MS:
        return int(value) / 1000
    raise InvalidInput(f"expected milliseconds from 1 to {_MAX_TIMEOUT_MS}, got {_shown(value)}", field="Penstock-Timeout-Ms")


def _priority(value: bytes) -> int:
    digits = value.removeprefix(b"-")
    if digits.isdigit() and len(digits) < 5:
        return int(value)
    raise InvalidInput(f"expected a whole number from -9999 to 9999, got {_shown(value)}", field="Penstock-Priority")


def _digest(value: bytes) -> str:
    """The digest, with or without the bundle's name before it."""
    digest = value.rpartition(b"@")[2]
    if _DIGEST.fullmatch(digest):
        return digest.decode()
    raise InvalidInput(f"expected sha256:<64 hex digits>, got {_shown(value)}", field="Penstock-Expect-Bundle")


def _shown(value: bytes) -> str:
    text = value.decode("latin-1")
    return repr(text if len(text) <= 80 else text[:77] + "...")
