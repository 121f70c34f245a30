"""The one table from error kinds to gRPC codes, and how a failed call ends: code, message, trailing metadata.

Nothing else in Penstock decides on a gRPC code by an error's kind.
"""

import math
import re
from typing import NoReturn

import grpc

from penstock.errors import ErrorKind, Overloaded, PenstockError
from penstock.serving.status import DEFAULT_RETRY_S

GRPC_STATUS: dict[ErrorKind, grpc.StatusCode] = {
    ErrorKind.INVALID_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNSUPPORTED_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorKind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    ErrorKind.WRONG_BUNDLE: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.CANCELLED: grpc.StatusCode.CANCELLED,
    ErrorKind.NOT_READY: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.UPSTREAM_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.INTERNAL: grpc.StatusCode.INTERNAL,
}

Metadata = tuple[tuple[str, str], ...]

# Metadata values are printable ASCII; a bundle's name may be more than that.
_UNSAFE = re.compile(r"[^ -~]")
_LONGEST_MESSAGE = 2048


def trailers(request_id: bytes, bundle: str) -> Metadata:
    """What goes out with every answer: the request id, and the bundle where one is known."""
    found = ("x-request-id", request_id.decode("latin-1"))
    return (found, ("penstock-bundle", _UNSAFE.sub("?", bundle))) if bundle else (found,)


def error_trailers(error: PenstockError) -> Metadata:
    """`retry-after-ms` for an error that may pass, nothing for others."""
    seconds = error.retry_after_s if isinstance(error, Overloaded) else DEFAULT_RETRY_S.get(error.kind)
    return () if seconds is None else (("retry-after-ms", str(max(1, math.ceil(seconds * 1000)))),)


def message_of(error: PenstockError) -> str:
    """The error as a status message: what a caller's text smuggled in cannot break it, and it fits into a header."""
    text = str(error).encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 4] + " ..."


async def abort(context: "grpc.aio.ServicerContext[bytes, bytes]", error: PenstockError, metadata: Metadata) -> NoReturn:
    """End a call with an error. Raises what the server takes as its end."""
    await context.abort(GRPC_STATUS[error.kind], message_of(error), (*metadata, *error_trailers(error)))
    raise AssertionError("abort returned")


async def unimplemented(context: "grpc.aio.ServicerContext[bytes, bytes]", message: str, metadata: Metadata) -> NoReturn:
    """End a call that is known and switched off, saying what switches it on. Raises what the server takes as its end."""
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, message, metadata)
    raise AssertionError("abort returned")
