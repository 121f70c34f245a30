"""One HTTP request and its answer, as a handler of the hot routes sees them, below or above the web framework.

A hot route's handler is a plain function of an `Exchange`. The fast protocol (`serving.fast`) calls it straight from the parser
for requests in their plain form; anything unusual (chunked bodies, `Expect`, HTTP/1.0 …) reaches the same handler through
FastAPI, with an exchange that fills an ASGI response. So there is one handler a route, whichever way it is reached.
"""

from collections.abc import Callable
from typing import Protocol

from penstock.errors import PenstockError


class Exchange(Protocol):
    """A request (whole body) and the one chance to answer it, now or later, on the event loop's thread.

    `path` is the decoded-free path bytes, `query` what follows `?`. `header` takes a lower-case name. `metrics` counts bytes and
    outcomes by itself; `answer` and `fail` may be called once, and are ignored when the caller is gone.
    """

    path: bytes
    query: bytes
    body: bytes
    started: float

    @property
    def disconnected(self) -> bool: ...

    def header(self, name: bytes) -> bytes | None: ...

    def answer(self, status: int, body: bytes, content_type: bytes = b"application/json", headers: bytes = b"") -> None:
        """`headers`: further header lines, each ending in CR LF, already made safe. The request id is added by the shell."""

    def fail(self, error: PenstockError) -> None:
        """Answer with the error in the form of this path (`{"error": …}` or problem+json) and its status."""


HotHandler = Callable[[Exchange], None]
