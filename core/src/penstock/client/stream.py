"""A stream of inference requests over one WebSocket: many in flight, answers as they are ready, within the server's credit.

    infer -> credit -> frame -> | connection | -> reader -> the future of its id

A connection that ends is opened anew by the next request; requests that it took with it are sent again, as over HTTP.

Invariant: no more requests are unanswered on a connection than the server granted, whatever callers ask for at once.
"""

import asyncio
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, Unpack

import numpy.typing as npt

from penstock.client.call import Answer, Call, CallOptions, option_headers, path_of
from penstock.client.inferring import inference_of, request_of
from penstock.client.messages import Answered, Credit, Refused, frame_of, read_frame
from penstock.client.results import Inference
from penstock.client.retrying import Attempts, Fault, RetryPolicy
from penstock.errors import Cancelled, InvalidInput, PenstockError

_LARGEST_FRAME = 1 << 30
_CLOSE_S = 2.0


class Socket(Protocol):
    """What of a connection of the `websockets` library is used here."""

    async def send(self, message: str | bytes) -> None: ...

    async def recv(self) -> str | bytes: ...

    async def close(self) -> None: ...


class _Lost(Exception):
    """The connection ended before the answer."""


class _Link:
    """One connection: its credit, and who waits for which answer."""

    def __init__(self, socket: Socket) -> None:
        self.lost = False
        self._socket = socket
        self._credit = asyncio.Semaphore(0)
        self._flying: dict[str, asyncio.Future[Inference | Answer]] = {}
        self._reader = asyncio.create_task(self._read())

    async def ask(self, id: str, frame: str | bytes) -> Inference | Answer:
        """Send a request once there is credit for it, and wait for what it is answered. Raises _Lost."""
        await self._credit.acquire()
        if self.lost:
            self._credit.release()
            raise _Lost("the connection ended")
        future: asyncio.Future[Inference | Answer] = asyncio.get_running_loop().create_future()
        self._flying[id] = future
        try:
            await self._socket.send(frame)
            return await future
        except OSError as error:
            raise _Lost(str(error)) from None
        finally:
            # A late answer to somebody who has left finds nobody; its credit comes back all the same.
            self._flying.pop(id, None)
            if future.done() and not future.cancelled():
                future.exception()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._socket.close()
        except (OSError, TimeoutError):
            pass
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        reason = "the connection ended"
        try:
            while True:
                self._take(read_frame(await self._socket.recv()))
        except (OSError, PenstockError) as error:
            reason = str(error) or reason
        finally:
            self.lost = True
            for future in self._flying.values():
                if not future.done():
                    future.set_exception(_Lost(reason))
            self._credit.release()

    def _take(self, said: Credit | Answered | Refused) -> None:
        if isinstance(said, Credit):
            for _ in range(said.requests):
                self._credit.release()
            return
        future = self._flying.get(said.id or "")
        if future is not None and not future.done():
            future.set_result(said.result if isinstance(said, Answered) else said.answer)


class InferStream:
    """Inference over one WebSocket; use it with `async with`. Made by `AsyncClient.stream`."""

    def __init__(
        self, url: str, model: str, version: str | None, headers: Mapping[str, str], policy: RetryPolicy, timeout_s: float | None
    ) -> None:
        at = path_of("/v2/models/{}", model) if version is None else path_of("/v2/models/{}/versions/{}", model, version)
        self._url = f"ws{url.removeprefix('http')}{at}/stream"
        self._model = model
        self._headers = headers
        self._policy = policy
        self._timeout_s = timeout_s
        self._call: Call[Inference] = Call("GET", at, inference_of)
        self._ids = itertools.count(1)
        self._link: _Link | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def infer(
        self,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        binary: bool = True,
        **options: Unpack[CallOptions],
    ) -> Inference:
        """Tensors in, tensors out. May be awaited many times at once: that is what a stream is for."""
        attempts = Attempts(self._call, self._policy, options.get("timeout_s", self._timeout_s))
        given = option_headers(options)
        while True:
            id = f"{next(self._ids):x}"
            changing = attempts.headers()
            request = request_of(self._model, inputs, outputs=outputs, id=id, parameters=parameters)
            outcome = await self._try(id, frame_of(request, given | changing, binary=binary), attempts)
            if isinstance(outcome, Inference):
                return dataclasses.replace(outcome, request_id=given.get("x-request-id", ""))
            wait_s = attempts.answered(outcome) if isinstance(outcome, Answer) else attempts.failed(*outcome)
            await asyncio.sleep(wait_s or 0)

    async def close(self) -> None:
        """End the connection; requests in flight fail with Cancelled."""
        self._closed = True
        await self._disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _try(self, id: str, frame: str | bytes, attempts: Attempts) -> Inference | Answer | tuple[Fault, str]:
        try:
            async with asyncio.timeout(attempts.remaining_s()):
                opened = await self._opened()
                return await opened.ask(id, frame) if isinstance(opened, _Link) else opened
        except TimeoutError:
            return Fault.TIMED_OUT, "the time given for this call is over"
        except _Lost as error:
            return Fault.LOST, str(error)

    async def _opened(self) -> "_Link | Answer | tuple[Fault, str]":
        """The connection, opened if need be; or what the server said instead, or why it could not be reached."""
        async with self._opening:
            if self._closed:
                raise Cancelled("the stream was closed")
            if self._link is not None and not self._link.lost:
                return self._link
            await self._disconnect()
            outcome = await _connect(self._url, self._headers)
            if isinstance(outcome, _Link):
                self._link = outcome
            return outcome


async def _connect(url: str, headers: Mapping[str, str]) -> _Link | Answer | tuple[Fault, str]:
    try:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
    except ImportError:
        raise InvalidInput("streams need the package websockets: pip install 'penstock[client]'") from None
    try:
        socket = await connect(url, additional_headers=headers, max_size=_LARGEST_FRAME, compression=None)
    except InvalidStatus as refused:
        response = refused.response
        names = {name.lower(): value for name, value in response.headers.raw_items()}
        return Answer(response.status_code, names, bytes(response.body or b""))
    except InvalidURI as error:
        raise InvalidInput(str(error), field="url") from None
    except (OSError, InvalidHandshake) as error:
        return Fault.NOT_SENT, str(error) or type(error).__name__
    return _Link(_Socket(socket))


class _Socket:
    """A connection of `websockets` whose end is an OSError, so that nothing of that library leaves this module."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def send(self, message: str | bytes) -> None:
        await self._guarded(self._connection.send(message))

    async def recv(self) -> str | bytes:
        found: str | bytes = await self._guarded(self._connection.recv())
        return found

    async def close(self) -> None:
        await self._connection.close()

    async def _guarded(self, awaited: Any) -> Any:
        from websockets.exceptions import ConnectionClosed

        try:
            return await awaited
        except ConnectionClosed as error:
            raise ConnectionError(str(error)) from None
