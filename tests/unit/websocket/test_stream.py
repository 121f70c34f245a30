"""One stream: credit, ids, errors, drain; without a connection."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.protocol.limits import Limits
from penstock.serving.routes import HotRoutes
from penstock.serving.shell import Shell, ShellLimits
from penstock.serving.websocket.limits import StreamLimits
from penstock.serving.websocket.stream import Stream, Streams
from penstock.testing.plane import EchoPlane


class Wire:
    """Keeps what the stream sends."""

    def __init__(self) -> None:
        self.writable = True
        self.sent: list[Any] = []
        self.closed: tuple[int, str] | None = None

    def send(self, text: bool, message: bytes) -> None:
        assert self.closed is None, "sent behind the close frame"
        self.sent.append(json.loads(message) if text else message)

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def take(self) -> list[Any]:
        sent, self.sent = self.sent, []
        return sent


class Rig:
    """A stream over the echo plane."""

    def __init__(self, credit: int = 4, headers: dict[bytes, bytes] | None = None, budget: int = 1 << 30) -> None:
        self.plane, self.wire = EchoPlane(), Wire()
        lifecycle = Lifecycle()
        self.metrics = Metrics()
        self.shell = Shell(HotRoutes(), lifecycle, self.metrics, ShellLimits(bodies_bytes=budget))
        self.shell.starting = False
        streams = Streams(self.plane, self.shell, Limits(), StreamLimits(credit=credit))
        self.stream = Stream(streams, self.wire, "echo", None, headers or {})
        self.stream.open()

    def ask(self, request_id: str | None, name: str = "x", **more: Any) -> None:
        tensor = {"name": name, "datatype": "FP32", "shape": [1], "data": [1.5]}
        self.stream.take(True, json.dumps({"id": request_id, "inputs": [tensor], **more}).encode())

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(body())


def test_the_first_message_grants_the_credit() -> None:
    async def body() -> None:
        assert Rig(credit=7).wire.take() == [{"credit": 7}]

    run(body)


def test_answers_have_their_ids_and_share_a_batch() -> None:
    async def body() -> None:
        rig = Rig(credit=8)
        rig.wire.take()
        for request_id in "abc":
            rig.ask(request_id)
        assert rig.stream.unanswered == 3
        await rig.settle()
        assert [answer["id"] for answer in rig.wire.take()] == ["a", "b", "c"]
        assert rig.stream.unanswered == 0

    run(body)


def test_credit_comes_back_once_half_of_it_is_used_and_read() -> None:
    async def body() -> None:
        rig = Rig(credit=4)
        rig.wire.take()
        rig.ask("a")
        await rig.settle()
        assert [list(message) for message in rig.wire.take()] == [["model_name", "model_version", "id", "parameters", "outputs"]]
        rig.wire.writable = False
        rig.ask("b")
        await rig.settle()
        assert len(rig.wire.take()) == 1
        assert rig.stream.credit == 2
        rig.wire.writable = True
        rig.stream.grant()
        assert rig.wire.take() == [{"credit": 2}]
        assert rig.stream.credit == 4

    run(body)


def test_more_requests_than_credit_close_the_stream() -> None:
    async def body() -> None:
        rig = Rig(credit=2)
        rig.plane.hold()
        for request_id in "abc":
            rig.ask(request_id)
        assert rig.wire.closed is not None
        assert rig.wire.closed[0] == 1008
        assert rig.stream.unanswered == 2

    run(body)


def test_an_id_that_is_in_flight_is_refused_without_harm_to_the_first() -> None:
    async def body() -> None:
        rig = Rig()
        rig.wire.take()
        rig.plane.hold()
        rig.ask("a")
        rig.ask("a")
        (refused,) = rig.wire.take()
        assert (refused["id"], refused["kind"], refused["status"], refused["field"]) == (None, "conflict", 409, "id")
        rig.plane.release()
        await rig.settle()
        assert rig.wire.take()[0]["id"] == "a"
        rig.ask("a")
        await rig.settle()
        assert rig.wire.take()[0]["id"] == "a"

    run(body)


def test_a_fault_is_its_own_requests_answer() -> None:
    async def body() -> None:
        rig = Rig()
        rig.wire.take()
        rig.ask("bad", name="fail")
        rig.stream.take(True, b'{"id": "worse", "inputs": 3}')
        rig.stream.take(True, b"{")
        rig.stream.take(False, b"\0\0")
        await rig.settle()
        bad, worse, nothing, binary = [message for message in rig.wire.take() if "credit" not in message]
        assert (bad["id"], bad["field"]) == ("bad", "inputs[0]")
        assert (worse["id"], worse["field"]) == ("worse", "inputs")
        assert nothing["id"] is None
        assert (binary["id"], binary["field"]) == (None, "message")

    run(body)


def test_a_fault_of_ours_is_its_own_requests_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        rig = Rig()
        rig.plane.hold()
        rig.ask("first")
        rig.wire.take()

        def broken(*_: Any) -> None:
            raise ZeroDivisionError("a secret")

        with monkeypatch.context() as patch:
            patch.setattr("penstock.serving.websocket.stream.read_request", broken)
            rig.ask("second")
        (second,) = rig.wire.take()
        assert (second["id"], second["kind"], second["status"]) == ("second", "internal", 500)
        assert "secret" not in second["error"]
        rig.plane.release()
        await rig.settle()
        assert [message.get("id") for message in rig.wire.take() if "credit" not in message] == ["first"]

    run(body)


def test_an_output_that_json_cannot_hold_is_an_error_with_its_id() -> None:
    async def body() -> None:
        rig = Rig()
        rig.wire.take()
        header = b'{"id":"h","inputs":[{"name":"x","datatype":"FP16","shape":[1],"parameters":{"binary_data_size":2}}]}'
        rig.stream.take(False, len(header).to_bytes(4, "little") + header + b"\0\0")
        await rig.settle()
        (answer,) = rig.wire.take()
        assert answer["id"] == "h"
        assert answer["status"] == 400

    run(body)


def test_a_drain_answers_what_was_taken_ignores_the_rest_and_closes() -> None:
    async def body() -> None:
        rig = Rig()
        rig.plane.hold()
        rig.ask("a")
        rig.stream.drain()
        rig.ask("late")
        assert rig.wire.closed is None
        rig.plane.release()
        await rig.settle()
        assert [message.get("id") for message in rig.wire.take()] == [None, "a"]
        assert rig.wire.closed == (1001, "the server stops")

    run(body)


def test_an_idle_stream_is_closed_at_once_by_a_drain() -> None:
    async def body() -> None:
        rig = Rig()
        rig.stream.drain()
        assert rig.wire.closed is not None

    run(body)


def test_a_connection_that_goes_gives_everything_back() -> None:
    async def body() -> None:
        rig = Rig(budget=1 << 20)
        rig.plane.hold()
        rig.ask("a", parameters={"padding": "x" * 100_000})
        assert rig.shell.budget_bytes < 1 << 20
        assert rig.metrics.in_flight("echo").count == 1
        rig.stream.abandon()
        assert rig.shell.budget_bytes == 1 << 20
        assert rig.metrics.in_flight("echo").count == 0
        rig.plane.release()
        await rig.settle()
        assert rig.metrics.in_flight("echo").count == 0

    run(body)


def test_a_large_message_beyond_the_budget_is_refused_for_now() -> None:
    async def body() -> None:
        rig = Rig(budget=1000)
        rig.wire.take()
        rig.ask("a", parameters={"padding": "x" * 100_000})
        (answer,) = rig.wire.take()
        assert (answer["id"], answer["status"]) == ("a", 429)
        assert answer["retry_after_ms"] > 0

    run(body)


def test_a_handshakes_header_holds_for_every_message_and_is_checked_at_once() -> None:
    with pytest.raises(InvalidInput):
        Rig(headers={b"penstock-priority": b"high"})

    async def body() -> None:
        rig = Rig(headers={b"penstock-timeout-ms": b"50000"})
        rig.plane.hold()
        rig.ask("a")
        held = rig.plane._held
        assert held is not None
        assert held[0][0].context.deadline is not None

    run(body)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ask", "same", "bad", "hold", "release", "settle", "unread", "read"]), max_size=40))
def test_whatever_happens_credit_is_kept_and_every_message_is_answered_once(steps: list[str]) -> None:
    async def body() -> None:
        rig = Rig(credit=5)
        taken = 0
        for number, step in enumerate(steps):
            before = rig.stream.credit
            if step in ("ask", "same", "bad"):
                rig.ask("same" if step == "same" else str(number), name="fail" if step == "bad" else "x")
                taken += before > 0
            elif step == "hold" and rig.plane._held is None:
                rig.plane.hold()
            elif step == "release":
                rig.plane.release()
            elif step == "settle":
                await rig.settle()
            else:
                rig.wire.writable = step != "unread"
                rig.stream.grant()
            assert 0 <= rig.stream.credit <= 5
            assert rig.stream.unanswered <= 5
            if rig.wire.closed is not None:
                return
        rig.plane.release()
        await rig.settle()
        answered = [message for message in rig.wire.sent if "credit" not in message]
        assert len(answered) == taken
        assert rig.stream.unanswered == 0

    run(body)
