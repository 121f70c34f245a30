"""Refusals by the head alone: the same answer as the handler's, only while there is pressure, and only while it stands."""

import re
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from penstock.batcher import Pressure
from penstock.dataplane import Context
from penstock.errors import DeadlineExceeded, Overloaded, PenstockError
from penstock.serving.early import EarlyRefusals
from penstock.testing.raw_http import infer_body, raw_request

PATH = "/v2/models/echo/infer"


class Queue:
    """What a data plane would say. Counts how often it is asked."""

    def __init__(self) -> None:
        self.pressure = Pressure()
        self.error: PenstockError | None = None
        self.asked: list[tuple[str, str | None, Any]] = []

    def refusal(self, model: str, version: str | None, context: Any) -> PenstockError | None:
        self.asked.append((model, version, context))
        return self.error


def request(path: str = PATH, **headers: str) -> bytes:
    return raw_request("POST", path, infer_body([1.0]), {name.replace("_", "-"): value for name, value in headers.items()})


async def settle(bench: Any) -> None:
    await bench.plane.drain()
    bench.plane._batcher._draining = False


def known(bench: Any, queue: Queue, data: bytes) -> tuple[Any, Any]:
    """A connection whose request `data` was answered once, so that its head is known."""
    bench.shell.early = EarlyRefusals(queue.pressure, queue.refusal)
    protocol, transport = bench.connect()
    protocol.data_received(data)
    return protocol, transport


def answers(transport: Any) -> list[tuple[bytes, bytes]]:
    """Each answer's head without what differs from one to the next, and its body."""
    found = []
    for part in transport.written.split(b"HTTP/1.1 ")[1:]:
        head, _, body = part.partition(b"\r\n\r\n")
        found.append((b"\r\n".join(sorted(re.sub(rb"(x-request-id|date): [^\r]*", b"\\1", head).split(b"\r\n"))), body))
    return found


def test_without_pressure_nobody_is_asked(run):
    async def body(bench):
        queue = Queue()
        queue.error = Overloaded("full")
        protocol, transport = known(bench, queue, request())
        await settle(bench)
        protocol.data_received(request())
        await settle(bench)
        assert transport.statuses == [200, 200]
        assert queue.asked == []

    run(body)


@pytest.mark.parametrize("path", [PATH, "/v2/models/echo/versions/1/infer", "/v1/models/echo:predict"])
def test_the_answer_is_the_handlers(run, path):
    """A known head and one that is new (its header line is), refused by head and by handler, get the same answer."""

    async def body(bench):
        queue = Queue()
        data = request(path, Penstock_Timeout_Ms="100", Penstock_Priority="1")
        if ":predict" in path:
            data = raw_request("POST", path, b'{"instances": [[1.0]]}', {"Penstock-Timeout-Ms": "100", "Penstock-Priority": "1"})
        early = bench.shell.early
        protocol, transport = known(bench, queue, data)
        await settle(bench)
        queue.error = Overloaded("full", retry_after_s=0.25)
        queue.error.bundle = "echo@1"
        queue.pressure.batchers = 1
        bench.plane.submit = lambda _, reply: reply.error(queue.error)
        first = len(transport.statuses)
        for _ in range(3):
            protocol.data_received(data)
        bench.shell.early = early
        protocol.data_received(data)
        assert transport.statuses[first:] == [429] * 4
        given = answers(transport)[first:]
        assert given[0] == given[1] == given[3]
        assert b"retry-after-ms: 250" in given[0][0]
        assert b"penstock-bundle: echo@1" in given[0][0]
        assert "error" in orjson.loads(given[0][1])
        ids = re.findall(rb"x-request-id: (\S+)", transport.written)
        assert len(set(ids)) == len(ids)
        counters = bench.shell.metrics.model("echo", "echo@1")
        assert (counters.requests, counters.errors) == (4, {"overloaded": 4})

    run(body)


def test_a_refusal_stands_until_the_queue_moves(run):
    async def body(bench):
        queue = Queue()
        protocol, transport = known(bench, queue, request(Penstock_Timeout_Ms="100"))
        await settle(bench)
        queue.error = Overloaded("full")
        queue.pressure.batchers = 1
        for _ in range(5):
            protocol.data_received(request(Penstock_Timeout_Ms="100"))
        assert len(queue.asked) == 1
        assert queue.asked[0][2].deadline is not None
        queue.pressure.turns += 1
        queue.error = None
        protocol.data_received(request(Penstock_Timeout_Ms="100"))
        await settle(bench)
        assert transport.statuses == [200, 429, 429, 429, 429, 429, 200]

    run(body)


def test_what_is_no_refusal_for_want_of_room_is_asked_each_time(run):
    async def body(bench):
        queue = Queue()
        protocol, transport = known(bench, queue, request())
        await settle(bench)
        queue.error = DeadlineExceeded("late")
        queue.pressure.batchers = 1
        for _ in range(3):
            protocol.data_received(request())
        assert transport.statuses == [200, 504, 504, 504]
        assert len(queue.asked) == 3

    run(body)


@pytest.mark.parametrize("state", ["draining", "starting", "guard"])
def test_what_the_handler_or_the_guard_has_to_say_first(run, state):
    async def body(bench):
        queue = Queue()
        protocol, _ = known(bench, queue, request())
        await settle(bench)
        queue.error = Overloaded("full")
        queue.pressure.batchers = 1
        early = bench.shell.early
        setattr(bench.shell, state, object() if state == "guard" else True)
        asked = bench.config.heads._heads
        (head,) = asked.values()
        assert not early.refuse(protocol, head.asked, head.path, head.length)
        assert queue.asked == []

    run(body)


def test_a_head_that_is_wrong_is_left_to_the_handler(run):
    async def body(bench):
        queue = Queue()
        data = request(Penstock_Timeout_Ms="soon")
        protocol, transport = known(bench, queue, data)
        queue.error = Overloaded("full")
        queue.pressure.batchers = 1
        protocol.data_received(data)
        assert transport.statuses == [400, 400]
        assert queue.asked == []

    run(body)


def test_other_routes_are_never_refused_by_the_head(run):
    async def body(bench):
        queue = Queue()
        data = raw_request("POST", "/now/a", b"1")
        protocol, transport = known(bench, queue, data)
        queue.error = Overloaded("full")
        queue.pressure.batchers = 1
        protocol.data_received(data)
        assert transport.statuses == [200, 200]

    run(body)


def test_a_data_plane_that_shows_no_queue_is_never_asked():
    early = EarlyRefusals.of(object())
    assert early.pressure.batchers == 0
    early.check(SimpleNamespace(params=("m",)), Context("r"))  # type: ignore[arg-type]
