"""Retries over the wire: busy, lost, silent and absent servers, scripted."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock.client import AsyncClient, Client, Predictions, RetryPolicy
from penstock.errors import DeadlineExceeded, Internal, Overloaded, PenstockError, UpstreamUnavailable

RETRY = RetryPolicy(attempts=3, base_s=0.001)


@pytest.fixture(params=["ordinary", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`ask(url, "verb", …)` of either client."""

    def ordinary(url: str, verb: str, *given: Any, **named: Any) -> Any:
        with Client(url, retry=RETRY) as client:
            return getattr(client, verb)(*given, **named)

    async def awaited(url: str, verb: str, *given: Any, **named: Any) -> Any:
        async with AsyncClient(url, retry=RETRY) as client:
            return await getattr(client, verb)(*given, **named)

    return ordinary if request.param == "ordinary" else lambda *given, **named: asyncio.run(awaited(*given, **named))


def test_busy_and_lost_then_answered(ask: Any, scripted: Any, pieces: Any) -> None:
    server = scripted(pieces.busy, pieces.lost, pieces.predicted)
    found: Predictions = ask(server.url, "predict", "m", [{"a": 1}], timeout_s=20)
    assert found.predictions[0].value == 1
    ids = {server.header(at, "x-request-id") for at in range(3)}
    assert len(ids) == 1
    left = [int(server.header(at, "penstock-timeout-ms") or 0) for at in range(3)]
    assert 20_000 >= left[0] > left[1] + 15
    assert left[1] >= left[2] > 0


def test_what_is_not_safe_is_sent_once(ask: Any, scripted: Any, pieces: Any) -> None:
    server = scripted(pieces.lost)
    with pytest.raises(UpstreamUnavailable, match="lost"):
        ask(server.url, "create_record", {"a": 1})
    assert len(server.heads) == 1


def test_what_was_refused_is_safe(ask: Any, scripted: Any, pieces: Any) -> None:
    stored = pieces.answer(201, '{"id": "a", "event_time": "2020-01-01T00:00:00Z", "values": {}}')
    server = scripted(pieces.busy, stored)
    assert ask(server.url, "create_record", {"a": 1}).id == "a"


def test_a_submission_keeps_its_key(ask: Any, scripted: Any, pieces: Any) -> None:
    server = scripted(pieces.lost, pieces.answer(202, '{"id": "p", "state": "starting"}'))
    assert ask(server.url, "submit", "m", [{"a": 1}]).id == "p"
    assert server.header(0, "idempotency-key") == server.header(1, "idempotency-key") != None  # noqa: E711


def test_waiting_for_a_prediction(ask: Any, scripted: Any, pieces: Any) -> None:
    states = [pieces.answer(200, f'{{"id": "p", "state": "{state}"}}') for state in ("starting", "processing", "succeeded")]
    server = scripted(*states)
    assert ask(server.url, "wait", "p").state == "succeeded"
    again = scripted(states[0])
    with pytest.raises(DeadlineExceeded):
        ask(again.url, "wait", "p", timeout_s=0)


@pytest.mark.parametrize(
    "script, kind",
    [
        (["busy"] * 3, Overloaded),
        (["lost"] * 3, UpstreamUnavailable),
    ],
)
def test_tries_come_to_an_end(ask: Any, scripted: Any, pieces: Any, script: list[str], kind: type[PenstockError]) -> None:
    server = scripted(*(getattr(pieces, piece) for piece in script))
    with pytest.raises(kind):
        ask(server.url, "predict", "m", [])
    assert len(server.heads) == 3


def test_a_silent_server_is_left_at_the_deadline(ask: Any, scripted: Any, pieces: Any) -> None:
    server = scripted(pieces.silent)
    with pytest.raises(DeadlineExceeded) as late:
        ask(server.url, "predict", "m", [], timeout_s=0.2)
    assert late.value.request_id == server.header(0, "x-request-id")
    assert len(server.heads) == 1


def test_a_fault_of_the_server_is_not_asked_for_again(ask: Any, scripted: Any, pieces: Any) -> None:
    server = scripted(pieces.answer(500, '{"error": "internal error"}'))
    with pytest.raises(Internal):
        ask(server.url, "predict", "m", [])


def test_another_server_is_told_apart(ask: Any, scripted: Any, pieces: Any) -> None:
    server = scripted(pieces.answer(200, "<html>"))
    with pytest.raises(UpstreamUnavailable, match="not JSON"):
        ask(server.url, "predict", "m", [])
