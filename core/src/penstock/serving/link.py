"""The channel between a supervising parent and one worker: questions and answers, both ways, over a socket pair.

    {"id": 7, "ask": "metrics", "with": {…}}    ->    {"id": 7, "answer": {…}} or {"id": 7, "error": {"kind": …, "message": …}}
    {"tell": "state", "with": {…}}                     no answer

One JSON object a line. When either side dies the other sees the end of the stream at once: that is how a worker notices that
its parent was killed.
"""

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from penstock.errors import ErrorKind, Internal, PenstockError, UpstreamUnavailable

logger = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], Awaitable[Any]]

_LINE_BYTES = 256 * 1024 * 1024


class RemoteError(PenstockError):
    """An error that the other process answered with; it keeps its kind."""

    def __init__(self, kind: ErrorKind, message: str, field: str | None) -> None:
        super().__init__(message, field=field)
        self.kind = kind


class Link:
    """One end. `handlers` answer the other side's questions; `run` reads until the other side is gone."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self._handlers = handlers
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, sock: socket.socket) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=_LINE_BYTES)

    async def ask(self, what: str, arguments: dict[str, Any] | None = None, *, timeout_s: float = 5.0) -> Any:
        """The other side's answer. Raises the error it answered with, or UpstreamUnavailable if none comes in time."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            self._send({"id": number, "ask": what, "with": arguments or {}})
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise UpstreamUnavailable(f"no answer from the other process to {what!r} in {timeout_s:g} s") from None
        finally:
            self._open.pop(number, None)

    def tell(self, what: str, arguments: dict[str, Any]) -> None:
        """Say something that needs no answer; it is lost if the other side is gone."""
        try:
            self._send({"tell": what, "with": arguments})
        except UpstreamUnavailable:
            pass

    async def run(self) -> None:
        """Answer and receive until the other side closes; then every open question fails."""
        assert self._reader is not None
        try:
            while line := await self._reader.readline():
                self._receive(orjson.loads(line))
        except (ConnectionError, ValueError):
            pass
        finally:
            self._close()
            # What was said last still counts: a worker's final counters come just before the end of the stream.
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _close(self) -> None:
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(UpstreamUnavailable("the other process is gone"))
        if self._writer is not None:
            self._writer.close()

    async def flush(self) -> None:
        """Wait until everything said so far has left this process."""
        if self._writer is not None and not self._writer.is_closing():
            try:
                await self._writer.drain()
            except ConnectionError:
                pass

    def _receive(self, message: dict[str, Any]) -> None:
        if "ask" in message or "tell" in message:
            task = asyncio.ensure_future(self._handle(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        answer = self._open.get(message["id"])
        if answer is None or answer.done():
            return
        if "error" in message:
            error = message["error"]
            answer.set_exception(RemoteError(ErrorKind(error["kind"]), error["message"], error["field"]))
        else:
            answer.set_result(message["answer"])

    async def _handle(self, message: dict[str, Any]) -> None:
        reply: dict[str, Any]
        what = message.get("ask") or message["tell"]
        try:
            reply = {"answer": await self._handlers[what](message["with"])}
        except PenstockError as error:
            reply = {"error": {"kind": error.kind.value, "message": error.message, "field": error.field}}
        except Exception as error:
            logger.error("question between processes failed", exc_info=error, extra={"question": what})
            fault = Internal()
            reply = {"error": {"kind": fault.kind.value, "message": fault.message, "field": None}}
        if "id" in message:
            try:
                self._send({"id": message["id"], **reply})
            except UpstreamUnavailable:
                pass

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is None or self._writer.is_closing():
            raise UpstreamUnavailable("the other process is gone")
        self._writer.write(orjson.dumps(message, default=str) + b"\n")
