"""The connection under a stream: bytes to frames to messages and back, by the `websockets` library's protocol without I/O.

uvicorn's own WebSocket protocols are not used: they hand every message to a task of its own through a queue, and end a connection
at once when the server stops. Here a read's messages are taken in one go, so that they share a batch, and a batch's answers are
one write.

Invariants: a client that does not read is not read from; bytes of a message that is not whole yet count against the shell's
budget; whatever the other side does or leaves undone, the sweep ends it.
"""

import asyncio
import logging
from typing import Any, cast

import uvicorn
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from penstock.errors import Overloaded, PenstockError
from penstock.serving.context import joined, request_id
from penstock.serving.security.subprotocols import chosen, with_credential
from penstock.serving.shell import Reservation
from penstock.serving.status import error_response
from penstock.serving.websocket.handshake import admit, target_of
from penstock.serving.websocket.stream import Stream, Streams

# The library logs each connection as it comes and goes; ours is the log of requests.
_frames_logger = logging.getLogger("penstock.serving.websocket.frames")
_frames_logger.setLevel(logging.WARNING)

INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TRY_LATER = 1013
_REASON_BYTES = 120


class StreamProtocol(asyncio.Protocol):
    """One connection from its handshake on. uvicorn makes it when the HTTP protocol hands over an upgrade; implements `Sink`."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002 - uvicorn passes it
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.streams: Streams = config.streams  # type: ignore[attr-defined]
        self.limits = self.streams.stream_limits
        self.server_state = server_state
        self.loop = _loop or asyncio.get_event_loop()
        self.frames = ServerProtocol(
            max_size=self.limits.message_bytes, logger=_frames_logger, select_subprotocol=lambda _, offered: chosen(offered)
        )
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.stream: Stream | None = None
        self.writable = True
        self.ticks = 0
        self.closing_ticks = 0
        self._ending = self._pinged = self._flushing = False
        self._parts = bytearray()
        self._text: bool | None = None
        self._unread = 0
        self._held = Reservation(self.streams.shell)

    # --- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.server_state.connections.add(cast(Any, self))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.server_state.connections.discard(cast(Any, self))
        self._held.release()
        if self.stream is not None:
            self.stream.abandon()

    def pause_writing(self) -> None:
        self.writable = False
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable = True
        self.ticks = 0
        self.transport.resume_reading()
        if self.stream is not None:
            self.stream.grant()

    def eof_received(self) -> None:
        if not self.frames.reader.eof:
            self.frames.receive_eof()
        self._flush()

    def data_received(self, data: bytes) -> None:
        self.ticks = 0
        self._pinged = False
        self._unread += len(data)
        self.frames.receive_data(data)
        for event in self.frames.events_received():
            if isinstance(event, Request):
                self._open(event)
            elif isinstance(event, Frame):
                self._take(event)
        if self._unread and not self._ending:
            try:
                self._held.grow(self._unread)
            except Overloaded as error:
                self.close(TRY_LATER, error.message)
        self._flush()

    # --- what came

    def _open(self, request: Request) -> None:
        self._unread = 0
        lines = request.headers.raw_items()
        headers = with_credential(joined((k.lower().encode("latin-1"), v.encode("latin-1", "replace")) for k, v in lines))
        answer = self.frames.accept(request)
        if answer.status_code == 101:
            target = target_of(request.path.encode("latin-1", "replace"))
            address = get_remote_addr(self.transport)
            try:
                assert target is not None, "the HTTP protocol hands over stream paths alone"
                admit(self.streams, target, headers, address[0] if address else "")
                self.stream = Stream(self.streams, self, target.model, target.version, headers, address[0] if address else "")
            except PenstockError as error:
                status, body, content_type, more = error_response(error, b"/v2/")
                answer = self.frames.reject(status, body.decode())
                del answer.headers["Content-Type"]
                answer.headers["Content-Type"] = content_type.decode()
                for name, _, value in (line.partition(b": ") for line in more.split(b"\r\n") if line):
                    answer.headers[name.decode()] = value.decode()
        answer.headers["X-Request-Id"] = request_id(headers).decode("latin-1")
        self._answer_handshake(answer)

    def _answer_handshake(self, answer: Response) -> None:
        self.frames.send_response(answer)
        if self.stream is not None and answer.status_code == 101:
            self.stream.open()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._text = frame.opcode is Opcode.TEXT
            if frame.fin:
                self._complete(bytes(frame.data))
            else:
                self._parts += frame.data
        elif frame.opcode is Opcode.CONT:
            self._parts += frame.data
            if frame.fin:
                message = bytes(self._parts)
                self._parts.clear()
                self._complete(message)
        # What is left of this read is less than a read; what counts is what waits for the rest of its message.
        self._unread = len(self._parts)

    def _complete(self, message: bytes) -> None:
        self._held.release()
        text = bool(self._text)
        if text and not message.isascii():
            try:
                message.decode()
            except UnicodeDecodeError:
                self.close(INVALID_DATA, "expected UTF-8 in a text message")
                return
        if self.stream is not None and not self._ending:
            self.stream.take(text, message)

    # --- what goes

    def send(self, text: bool, message: bytes) -> None:
        """Queue a message; all that are queued in one turn of the loop are one write."""
        if self.frames.state is not State.OPEN:
            return
        if text:
            self.frames.send_text(message)
        else:
            self.frames.send_binary(message)
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; what was queued before it goes out before it. Then the other side has `close_s` to answer."""
        if self.frames.state is not State.OPEN:
            return
        self._ending = True
        self._held.release()
        self.frames.send_close(code, reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore"))
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.transport.is_closing():
            return
        chunks = self.frames.data_to_send()
        if not chunks:
            return
        self.transport.write(b"".join(chunks))
        if chunks[-1] == b"":  # the library's word for the end of what the server says
            self._ending = True
            if self.transport.can_write_eof() and not self.frames.reader.eof:
                # Read on until the other side is done: closing with unread input would reset the connection, close frame and all.
                self.transport.write_eof()
            else:
                self.transport.close()

    # --- the server's calls

    def shutdown(self) -> None:
        """The server stops: close with 1001 once everything taken is answered."""
        if self.stream is None:
            self.transport.close()
        else:
            self.stream.drain()

    def sweep(self) -> None:
        """Called once a second: cut what does not read, does not finish, or does not answer."""
        self.ticks += 1
        limits = self.limits
        if self._ending:
            self.closing_ticks += 1
            if self.closing_ticks > limits.close_s:
                self.transport.abort()
        elif not self.writable:
            if self.ticks > limits.stall_s:
                self.transport.abort()
        elif self.stream is None:
            if self.ticks > limits.handshake_s:
                self.transport.abort()
        elif self._unread:
            if self.ticks > limits.stall_s:
                self.close(POLICY_VIOLATION, "the message did not arrive in time")
        elif self.ticks > 2 * limits.ping_s:
            self.transport.abort()
        elif self.ticks >= limits.ping_s and not self._pinged:
            self._pinged = True
            self.frames.send_ping(b"penstock")
            self._flush()
