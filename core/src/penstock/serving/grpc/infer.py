"""ModelInfer: one request, one answer.

    message -> Call -> InferRequest -> DataPlane.submit -> FutureReply -> ModelInferResponse, or a status

grpc.aio cancels the handler's task when the caller goes away or its deadline passes; that cancels the reply's future, which is
how the batcher learns that nobody waits.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from penstock.dataplane import DataPlane, FutureReply, InferRequest, InferResponse
from penstock.errors import PenstockError
from penstock.protocol.grpc.encoding import encode_response
from penstock.protocol.limits import Limits
from penstock.serving.faults import fault
from penstock.serving.grpc.call import Call, compress, deadline_of, headers_of, peer_of
from penstock.serving.grpc.status import abort, trailers
from penstock.serving.shell import Shell

if TYPE_CHECKING:
    import grpc

logger = logging.getLogger(__name__)


class Unary:
    """The handler of ModelInfer."""

    def __init__(self, plane: DataPlane, shell: Shell, limits: Limits) -> None:
        self._plane = plane
        self._shell = shell
        self._limits = limits

    async def infer(self, message: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        """Answer one serialized ModelInferRequest."""
        peer = "" if self._shell.guard is None else peer_of(context)
        call = Call(self._shell, headers_of(context), len(message), deadline_of(context), peer)
        request: InferRequest | None = None
        try:
            request = await call.request(message, self._limits)
            reply: FutureReply[InferResponse] = FutureReply()
            self._plane.submit(request, reply)
            response = await reply.future
            answer = encode_response(response, request)
        except asyncio.CancelledError:
            call.cancelled(request)
            raise
        except PenstockError as error:
            await self._fail(context, call, error, request)
        except Exception as error:
            await self._fail(context, call, fault(logger, "call failed", error, call.request_id), request)
        finally:
            call.close()
        await compress(context, call.headers)
        context.set_trailing_metadata(trailers(call.request_id, response.bundle))
        call.answered(response, len(answer))
        return answer

    async def _fail(
        self,
        context: "grpc.aio.ServicerContext[bytes, bytes]",
        call: Call,
        error: PenstockError,
        request: InferRequest | None,
    ) -> None:
        call.failed(error, request)
        await abort(context, error, trailers(call.request_id, error.bundle or ""))
