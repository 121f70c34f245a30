"""What the requests of one connection have in common, whichever way they are answered, and the flow control over them."""

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from penstock.serving.context import new_request_id
from penstock.serving.fast_exchange import FastExchange
from penstock.serving.status import status_response

if TYPE_CHECKING:
    from penstock.serving.fast import FastProtocol


class Cycle(Protocol):
    """What a FastExchange and uvicorn's RequestResponseCycle have in common."""

    disconnected: bool
    response_complete: bool
    keep_alive: bool
    more_body: bool

    @property
    def message_event(self) -> Any: ...


class Queue(Protocol):
    """What of a connection has to be done before it may read on."""

    @property
    def active(self) -> Any: ...

    @property
    def waiting(self) -> Any: ...

    @property
    def rest(self) -> bytes: ...


class PacedFlow(FlowControl):
    """Flow control that does not resume reading while requests of this connection wait, or while the application has a body's
    worth still to read."""

    def __init__(self, transport: asyncio.Transport, owner: Queue) -> None:
        super().__init__(transport)
        self._owner = owner

    def resume_reading(self) -> None:
        owner = self._owner
        if owner.waiting or owner.rest:
            return
        active = owner.active
        if active is None or active.__class__ is FastExchange or len(active.body) <= HIGH_WATER_LIMIT:
            super().resume_reading()


def disconnect(cycle: Any) -> None:
    """Tell a cycle that nobody waits for its answer any more; what it held is given back."""
    if not cycle.response_complete:
        cycle.disconnected = True
    if cycle.__class__ is FastExchange:
        cycle.release()
    else:
        cycle.message_event.set()


def head_without_upgrade(method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A request's head as bytes again, as one that offers no change of protocol."""
    lines = [b"%b: %b\r\n" % (name, value) for name, value in headers if name not in (b"upgrade", b"connection")]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, url, b"".join(lines))


def write_last_answer(protocol: "FastProtocol", status: int, message: str, path: bytes, lines: bytes = b"") -> None:
    """Answer a stream that cannot go on; `lines` are further header lines."""
    standing = protocol.shell.standing_lines(protocol.server_state.default_headers)
    protocol.transport.write(last_answer(status, message, path, standing + lines))


def last_answer(status: int, message: str, path: bytes, standing: bytes) -> bytes:
    """The answer to a stream that cannot go on, whole; `standing` are the header lines that every answer carries."""
    body, content_type = status_response(status, message, path)
    head = b"%b%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\nconnection: close\r\n\r\n"
    return head % (STATUS_LINE[status], standing, content_type, len(body), new_request_id().encode()) + body
