"""What is away is waited for; what waiting does not mend is said at once."""

import asyncio
import logging
from collections import deque
from typing import Any

import pytest

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock_transformer.backoff import Backoff
from penstock_transformer.broker.port import BrokerError, Retriable
from penstock_transformer.reaching import reached

SOON = Backoff(0.0, 0.0)


def reach(*answers: Any) -> tuple[Any, int]:
    """What comes of calls that end so, one after the other; and how many of them were not made."""
    left = deque(answers)

    async def call() -> Any:
        answer = left.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    try:
        return asyncio.run(reached("broker", call, backoff=SOON)), len(left)
    except Exception as error:
        return error, len(left)


def test_what_is_away_is_asked_again_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert reach(Retriable("no broker"), UpstreamUnavailable("no store"), "here", "never asked") == ("here", 1)
    assert [(record.message, record.__dict__["reason"]) for record in caplog.records] == [("not reached yet", "no broker")]


@pytest.mark.parametrize("error", [BrokerError("no such topic"), InvalidInput("wrong address"), RuntimeError("a fault of ours")])
def test_what_waiting_does_not_mend_is_raised(error: Exception) -> None:
    assert reach(Retriable("no broker"), error, "never asked") == (error, 1)
