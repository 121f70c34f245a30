"""One HTTP request and its answer, as a handler of the hot routes sees them, below or above the web framework.

A hot route's handler is a plain function of an `Exchange`. The fast protocol (`serving.fast`) calls it straight from the parser
for requests in their plain form; anything unusual (chunked bodies, `Expect`, HTTP/1.0 …) reaches the same handler through
FastAPI, with an exchange that fills an ASGI response. So there is one handler a route, whichever way it is reached.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from penstock.errors import ErrorKind, PenstockError


class Exchange(Protocol):
    """A request (whole body) and the one chance to answer it, now or later, on the event loop's thread.

    `path` is the path's bytes as sent, `query` what follows `?`. `params` are the decoded values of the route's `{…}` parts, in
    order. `headers` maps lower-case names to values; `header` is its `get`. `started` is in seconds of `time.monotonic()`.
    `request_id` is set by `serving.context.read_context` and goes out with the answer. `answer` and `fail` may be called once,
    and are ignored when the caller is gone. The shell counts bytes, outcomes and latency by itself, under whatever
    `served_by` named.
    """

    request_id: bytes

    @property
    def path(self) -> bytes: ...

    @property
    def query(self) -> bytes: ...

    @property
    def body(self) -> bytes: ...

    @property
    def started(self) -> float: ...

    @property
    def params(self) -> tuple[str, ...]: ...

    @property
    def headers(self) -> Mapping[bytes, bytes]: ...

    @property
    def disconnected(self) -> bool: ...

    def header(self, name: bytes) -> bytes | None: ...

    def served_by(self, model: str, bundle: str) -> None:
        """Name the model and bundle (`name@sha256:…`) that answer: metrics are counted for them, and `Penstock-Bundle` is sent.

        Only for models that exist here; a name that a caller made up must not become a label.
        """

    def answer(self, status: int, body: bytes, content_type: bytes = b"application/json", headers: bytes = b"") -> None:
        """`headers`: further header lines, each ending in CR LF, already made safe. The request id is added by the shell."""

    def fail(self, error: PenstockError) -> None:
        """Answer with the error in the form of this path (`{"error": …}` or problem+json) and its status."""


def fail_for(exchange: Exchange, model: str, error: PenstockError) -> None:
    """Answer with an error of this model, counted for it; a name that a caller made up (not found) becomes no label."""
    if error.kind is not ErrorKind.NOT_FOUND:
        exchange.served_by(model, error.bundle or "")
    exchange.fail(error)


HotHandler = Callable[[Exchange], None]
