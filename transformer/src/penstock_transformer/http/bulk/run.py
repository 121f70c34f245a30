"""One bulk request: its reader and its writer, with a few batches in flight between them.

    request.stream() -> RowReader -> batches --(at most `in_flight`)--> Resolver -> in order -> AnswerWriter -> send

The reader stops when `in_flight` batches are unanswered or unsent, and with it the reading of the connection; the writer stops
when the client does not read. So a body of any length takes the memory of a few batches, and of what has come of the next: a
line, an Arrow message, a whole JSON body. That counts against the budget of large bodies, like the body of an ordinary request.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from penstock.errors import ErrorKind, PenstockError, TooLarge
from penstock.serving.faults import fault
from penstock.serving.shell import Reservation
from penstock_transformer.http.bulk.answer_lines import AnswerWriter
from penstock_transformer.http.bulk.batch import Answer, Batch, RowReader
from penstock_transformer.http.bulk.resolving import Resolver

logger = logging.getLogger(__name__)

IN_FLIGHT = 4
HEARTBEAT_S = 15.0

# Errors that are about rows even where all rows of a batch have them.
_OF_ROWS = frozenset({ErrorKind.INVALID_INPUT, ErrorKind.NOT_FOUND})
_Pending = tuple[Batch, "asyncio.Task[list[Answer]]"]


class BulkRun:
    """Reads, predicts and writes. Use: `await first()`, then `write_to`, then `close()`, whatever happened before."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        reader: RowReader,
        writer: AnswerWriter,
        resolver: Resolver,
        *,
        held: Reservation | None = None,
        in_flight: int = IN_FLIGHT,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self.bytes_in = self.bytes_out = self.rows = self.refused = 0
        self.failure: PenstockError | None = None
        self._chunks = chunks
        self._reader = reader
        self._writer = writer
        self._resolver = resolver
        self._heartbeat_s = heartbeat_s
        self._held = held
        self._unfinished_bytes = 0
        # One is being awaited by the writer, the others wait here: a full queue stops the reader.
        self._pending: asyncio.Queue[_Pending | PenstockError | None] = asyncio.Queue(max(1, in_flight - 1))
        self._reading = asyncio.create_task(self._read())
        self._flying: set[asyncio.Task[list[Answer]]] = set()
        self._first: tuple[Batch, list[Answer]] | None = None
        self._bundle = ""

    async def first(self) -> None:
        """Wait for the first batch's answers, so that what is wrong with the request as a whole can still be its status.

        Raises the PenstockError that all of the first rows have in common, unless it is about rows, or that keeps the body from
        being read.
        """
        batch, answers = await self._next()
        if batch is None:
            return
        whole = answers[0] if answers else None
        if isinstance(whole, PenstockError) and whole.kind not in _OF_ROWS and all(answer is whole for answer in answers):
            raise whole
        self._bundle = batch.bundle
        self._first = (batch, answers)

    @property
    def bundle(self) -> str:
        """The label of the bundle that the first answers are of."""
        return self._bundle

    async def write_to(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send every answer, as the writer has it, in the order of the rows."""
        try:
            if self._first is not None:
                await self._send(send, *self._first)
                self._first = None
                while True:
                    batch, answers = await self._next(send)
                    if batch is None:
                        break
                    await self._send(send, batch, answers)
        except PenstockError as error:
            self.failure = error
            await self._put(send, self._writer.fail(error, None))
        await self._put(send, self._writer.finish())

    async def close(self) -> None:
        """Stop reading and predicting. Safe to call at any time."""
        tasks: list[asyncio.Task[Any]] = [self._reading, *self._flying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._let_go()

    async def _read(self) -> None:
        try:
            async for chunk in self._chunks:
                self.bytes_in += len(chunk)
                self._hold(len(chunk))
                begun = False
                for batch in self._reader.feed(chunk):
                    begun = True
                    await self._start(batch)
                if begun:
                    self._let_go()
            for batch in self._reader.finish():
                await self._start(batch)
        except PenstockError as error:
            await self._pending.put(error)
        except ClientDisconnect:  # what is in flight is little, and what is sent to nobody is dropped by the server
            await self._pending.put(None)
        except HTTPException as error:  # the body is over its limit, see `serving.framing`
            await self._pending.put(TooLarge(str(error.detail).removeprefix("body: "), field="body"))
        except Exception as error:
            identity = self._resolver.context.request_id
            await self._pending.put(fault(logger, "bulk body could not be read", error, identity))
        else:
            await self._pending.put(None)

    def _hold(self, more: int) -> None:
        """So many bytes more wait for the end of what they belong to. Raises Overloaded if the budget does not hold them."""
        self._unfinished_bytes += more
        if self._held is not None:
            self._held.grow(self._unfinished_bytes)

    def _let_go(self) -> None:
        self._unfinished_bytes = 0
        if self._held is not None:
            self._held.release()

    async def _start(self, batch: Batch) -> None:
        # What the query says wins over the body, as it does for an ordinary request.
        self._resolver.options = (getattr(self._reader, "options", None) or {}) | (self._resolver.options or {}) or None
        task = asyncio.create_task(self._resolver.resolve(batch))
        self._flying.add(task)
        task.add_done_callback(self._flying.discard)
        await self._pending.put((batch, task))

    async def _next(self, send: Callable[[bytes], Awaitable[None]] | None = None) -> tuple[Batch | None, list[Answer]]:
        """The next batch with its answers, a sign of life sent while it takes its time; None behind the last.

        Raises PenstockError where the rest cannot be read.
        """
        pending = await self._lively(self._pending.get(), send)
        if pending is None:
            return None, []
        if isinstance(pending, PenstockError):
            raise pending
        batch, task = pending
        return batch, await self._lively(task, send)

    async def _lively(self, awaited: Any, send: Callable[[bytes], Awaitable[None]] | None) -> Any:
        if send is None or not self._writer.idle:
            return await awaited
        future = asyncio.ensure_future(awaited)
        try:
            while not (await asyncio.wait({future}, timeout=self._heartbeat_s))[0]:
                await self._put(send, self._writer.idle)
            return future.result()
        finally:
            future.cancel()

    async def _send(self, send: Callable[[bytes], Awaitable[None]], batch: Batch, answers: list[Answer]) -> None:
        self.rows += len(answers)
        self.refused += sum(isinstance(answer, PenstockError) for answer in answers)
        other = batch.bundle if batch.bundle != self._bundle else None
        await self._put(send, self._writer.write(batch.numbers, answers, other))

    async def _put(self, send: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
        if data:
            self.bytes_out += len(data)
            await send(data)
