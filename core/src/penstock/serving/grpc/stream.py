"""ModelStreamInfer: many requests over one call, each answered or refused on its own, in the order they came.

    reader: message -> Call -> submit --(at most `CREDIT` unanswered)--> writer: wait for each answer in turn -> message

Requests of a stream are batched like any others; only their answers wait for each other, as they do in Triton for models that
give one answer a request. A request that fails is answered with its error and its id; the stream goes on, unless the caller asked
for errors as statuses (metadata `triton_grpc_error: true`, Triton's own). Metadata come once a stream, so an answer names
its bundle in its parameter `bundle`, as over WebSocket; request n of a stream is logged as the stream's id with `.n`.

Invariant: a stream whose caller does not read holds `CREDIT` requests at most: the reader stops, and gRPC's flow control with it.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from penstock.dataplane import DataPlane, FutureReply, InferRequest, InferResponse
from penstock.errors import DeadlineExceeded, NotReady, PenstockError
from penstock.protocol.grpc.decoding import parse
from penstock.protocol.grpc.encoding import response_of
from penstock.protocol.grpc.messages import ModelInferRequest, ModelStreamInferResponse
from penstock.protocol.limits import Limits
from penstock.serving.context import request_id
from penstock.serving.faults import fault
from penstock.serving.grpc.call import Call, Headers, compress, deadline_of, headers_of, peer_of
from penstock.serving.grpc.status import Metadata, abort, message_of, trailers
from penstock.serving.shell import Shell

if TYPE_CHECKING:
    import grpc

logger = logging.getLogger(__name__)

CREDIT = 256
"""Requests of one stream that may be unanswered."""

# Triton's way to ask that each answer says whether it was the last one of its request; here it always is.
_ASK_FINAL = "triton_enable_empty_final_response"
_FINAL = "triton_final_response"
_BUNDLE = "bundle"
_AS_STATUS = b"triton_grpc_error"
_LONGEST_ID = 1024


class Slot:
    """One request of a stream, from its message to its answer."""

    __slots__ = ("call", "error", "final", "identity", "reply", "request")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.request: InferRequest | None = None
        self.reply: FutureReply[InferResponse] | None = None
        self.error: PenstockError | None = None
        self.identity = ""
        self.final = False

    async def begin(self, plane: DataPlane, message: bytes, limits: Limits) -> None:
        """Take the message; what is wrong with it is kept for its turn."""
        try:
            self.request = request = await self.call.request(message, limits)
            if request.parameters and _ASK_FINAL in request.parameters:
                self.final = request.parameters.pop(_ASK_FINAL) is True
            self.identity = request.id or ""
            self.reply = FutureReply()
            plane.submit(request, self.reply)
        except asyncio.CancelledError:
            self.drop()
            raise
        except PenstockError as error:
            self.error = error
            self.identity = self.identity or _identity(message)
        except Exception as error:
            self.error = fault(logger, "call failed", error, self.call.request_id)

    async def finish(self) -> bytes:
        """The message that answers; `error` is set if it says that the request failed. Raises nothing but CancelledError."""
        try:
            if self.error is None and self.reply is not None and self.request is not None:
                response = await self.reply.future
                answer = response_of(response, self.request)
                answer.parameters[_BUNDLE].string_param = response.bundle
                if self.final:
                    answer.parameters[_FINAL].bool_param = True
                made: bytes = ModelStreamInferResponse(infer_response=answer).SerializeToString()
                self.call.answered(response, len(made))
                return made
        except asyncio.CancelledError:
            self.call.cancelled(self.request)
            raise
        except PenstockError as error:
            self.error = error
        except Exception as error:
            self.error = fault(logger, "call failed", error, self.call.request_id)
        finally:
            self.call.close()
        assert self.error is not None
        self.call.failed(self.error, self.request)
        failed = ModelStreamInferResponse(error_message=message_of(self.error), infer_response={"id": self.identity})
        if self.error.bundle:
            failed.infer_response.parameters[_BUNDLE].string_param = self.error.bundle
        said: bytes = failed.SerializeToString()
        return said

    def drop(self) -> None:
        """Nobody waits any more."""
        if self.reply is not None:
            self.reply.future.cancel()
        self.call.cancelled(self.request)
        self.call.close()


class Streaming:
    """The handler of ModelStreamInfer."""

    def __init__(self, plane: DataPlane, shell: Shell, limits: Limits) -> None:
        self._plane = plane
        self._shell = shell
        self._limits = limits
        self._readers: set[asyncio.Task[None]] = set()
        self._stopping = False

    def stop(self) -> None:
        """Read nothing more from any stream; what was read is still answered, then the stream ends with UNAVAILABLE."""
        self._stopping = True
        for reader in self._readers:
            reader.cancel()

    async def infer(self, _: Any, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        """Answer one stream until its caller ends it, or the server stops."""
        if self._stopping:
            await abort(context, _stopped(), ())
        slots: asyncio.Queue[Slot | None] = asyncio.Queue()
        credit = asyncio.Semaphore(CREDIT)
        headers = headers_of(context)
        await compress(context, headers)
        # Without one of its caller's it gets one here, which its requests share.
        headers[b"x-request-id"] = request_id(headers)
        context.set_trailing_metadata(trailers(headers[b"x-request-id"], ""))
        reader = asyncio.create_task(self._read(context, headers, slots, credit))
        self._readers.add(reader)
        try:
            ended = await self._write(context, headers, slots, credit)
            if ended is None and reader.cancelled():
                ended = _stopped(), ()
        finally:
            self._readers.discard(reader)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            while not slots.empty():
                left = slots.get_nowait()
                if left is not None:
                    left.drop()
        # Last, when nothing is held any more: the status waits behind answers that the caller may never read.
        if ended is not None:
            await abort(context, *ended)

    async def _read(
        self,
        context: "grpc.aio.ServicerContext[bytes, bytes]",
        headers: Headers,
        slots: "asyncio.Queue[Slot | None]",
        credit: asyncio.Semaphore,
    ) -> None:
        """Fill `slots`; None is the end."""
        deadline, peer = deadline_of(context), peer_of(context)
        number = 0
        try:
            while True:
                await credit.acquire()
                message: Any = await context.read()
                if not isinstance(message, bytes):  # the mark of the end
                    return
                number += 1
                own = {**headers, b"x-request-id": b"%b.%d" % (headers[b"x-request-id"], number)}
                slot = Slot(Call(self._shell, own, len(message), deadline, peer))
                await slot.begin(self._plane, message, self._limits)
                slots.put_nowait(slot)
        finally:
            slots.put_nowait(None)

    async def _write(
        self,
        context: "grpc.aio.ServicerContext[bytes, bytes]",
        headers: Headers,
        slots: "asyncio.Queue[Slot | None]",
        credit: asyncio.Semaphore,
    ) -> tuple[PenstockError, Metadata] | None:
        """Answer the slots in turn. What the stream is to end with before its time, None if it was answered whole."""
        stall_s = self._shell.limits.stall_timeout_s
        as_status = headers.get(_AS_STATUS, b"").lower() == b"true"
        while (slot := await slots.get()) is not None:
            answer = await slot.finish()
            if as_status and slot.error is not None:
                return slot.error, trailers(slot.call.request_id, slot.error.bundle or "")
            try:
                async with asyncio.timeout(stall_s):
                    await context.write(answer)
            except TimeoutError:
                return DeadlineExceeded(f"no answer of this stream was read for {stall_s} s"), ()
            credit.release()
        return None


def _stopped() -> NotReady:
    return NotReady("the server is stopping; what was not answered was not begun")


def _identity(message: bytes) -> str:
    """The id of a request that was refused, so that its caller can tell which one it was."""
    try:
        return str(parse(ModelInferRequest, message).id)[:_LONGEST_ID]
    except PenstockError:
        return ""
