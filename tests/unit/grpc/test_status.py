"""Error kinds as gRPC statuses."""

import asyncio
from typing import Any

import grpc
import pytest

from penstock import errors
from penstock.errors import ErrorKind, InvalidInput, NotReady, Overloaded
from penstock.serving.grpc.status import GRPC_STATUS, abort, error_trailers, message_of, trailers


def test_every_kind_has_a_code_and_only_faults_of_ours_are_internal() -> None:
    assert set(GRPC_STATUS) == set(ErrorKind)
    assert [kind for kind, code in GRPC_STATUS.items() if code is grpc.StatusCode.INTERNAL] == [ErrorKind.INTERNAL]
    assert grpc.StatusCode.UNKNOWN not in GRPC_STATUS.values()


def test_what_may_pass_says_when_to_come_back() -> None:
    assert error_trailers(Overloaded("full", retry_after_s=0.0301)) == (("retry-after-ms", "31"),)
    assert error_trailers(NotReady("not yet")) == (("retry-after-ms", "1000"),)
    assert error_trailers(InvalidInput("wrong")) == ()


def test_metadata_and_messages_are_safe_to_send() -> None:
    assert trailers(b"id", "modèle@sha256:0") == (("x-request-id", "id"), ("penstock-bundle", "mod?le@sha256:0"))
    assert trailers(b"id", "") == (("x-request-id", "id"),)
    assert message_of(InvalidInput("lone \ud800 surrogate", field="x")) == "x: lone ? surrogate"
    assert len(message_of(InvalidInput("long" * 1000))) == 2048


class Context:
    def __init__(self) -> None:
        self.aborted: Any = None

    async def abort(self, *arguments: Any) -> None:
        self.aborted = arguments
        raise grpc.aio.AbortError


@pytest.mark.parametrize("error", [kind("said") for kind in vars(errors).values()
                                   if isinstance(kind, type) and issubclass(kind, errors.PenstockError)])  # fmt: skip
def test_a_failed_call_ends_with_code_message_and_metadata(error: errors.PenstockError) -> None:
    context: Any = Context()
    with pytest.raises(grpc.aio.AbortError):
        asyncio.run(abort(context, error, trailers(b"id", "")))
    code, message, metadata = context.aborted
    assert (code, message) == (GRPC_STATUS[error.kind], "said")
    assert metadata[0] == ("x-request-id", "id")
