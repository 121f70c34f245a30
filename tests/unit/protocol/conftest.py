"""Shared by the codec tests: decode with little ceremony, and arrays of every datatype."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock.dataplane import Context, InferRequest
from penstock.protocol import v2
from penstock.protocol.limits import Limits

Decode = Callable[..., InferRequest]


@pytest.fixture(scope="session")
def decode() -> Decode:
    """decode_request with a model, a context and the default limits filled in."""

    def call(body: bytes, header_length: int | None = None, limits: Limits = Limits(), **more: Any) -> InferRequest:  # noqa: B008
        given: dict[str, Any] = {"model": "m", "version": None, "context": Context("r"), **more}
        return v2.decode_request(body, header_length=header_length, limits=limits, **given)

    return call
