"""A bulk run without a network: order, bounded flight, bad rows alone, back-pressure, and ends of every kind."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from penstock.dataplane import Context
from penstock.errors import InvalidInput, NotReady, Overloaded, PenstockError
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.serving.routes import HotRoutes
from penstock.serving.shell import Reservation, Shell, ShellLimits
from penstock_transformer.http.bulk.answer_lines import EventWriter, LineWriter
from penstock_transformer.http.bulk.json_reader import JsonReader
from penstock_transformer.http.bulk.lines import LineReader
from penstock_transformer.http.bulk.resolving import Resolver
from penstock_transformer.http.bulk.run import BulkRun
from penstock_transformer.requests import PredictReply, PredictRequest, PredictResponse


class Plane:
    """Answers rows by their `a`; refuses the first row that has `bad`, as the pipeline does. `hold` keeps answers back."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] | None = None
        self.requests = 0
        self.most_held = 0
        self.errors: list[PenstockError] = []
        self.bundle = "m@sha256:1"

    def predict(self, request: PredictRequest, reply: PredictReply) -> None:
        self.requests += 1

        def answer() -> None:
            rows = request.rows or []
            if self.errors:
                reply.error(self.errors.pop(0))
                return
            for at, row in enumerate(rows):
                if "bad" in row:
                    reply.error(InvalidInput("is bad", field=f"rows[{at}].bad"))
                    return
            reply.put(PredictResponse("m", self.bundle, [{"value": row.get("a")} for row in rows], {}))

        if self.held is None:
            asyncio.get_running_loop().call_soon(answer)
        else:
            self.held.append(answer)
            self.most_held = max(self.most_held, len(self.held))

    def models(self) -> list[str]:
        return ["m"]

    def plan(self, model: str) -> None: ...

    def store(self, model: str) -> None: ...


async def chunks_of(*chunks: bytes | BaseException) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        if isinstance(chunk, BaseException):
            raise chunk
        yield chunk


def run_of(plane: Plane, chunks: AsyncIterator[bytes], writer: Any = None, **more: Any) -> BulkRun:
    return BulkRun(chunks, LineReader(), writer or LineWriter("line"), Resolver(plane, "m", Context("r")), **more)


async def collected(run: BulkRun) -> bytes:
    """Everything that the run sends."""
    out: list[bytes] = []

    async def send(data: bytes) -> None:
        out.append(data)

    try:
        await run.first()
        await run.write_to(send)
    finally:
        await run.close()
    return b"".join(out)


def lines(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


def go(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(body())


def test_answers_come_in_the_order_of_the_rows_and_bad_ones_alone() -> None:
    async def body() -> None:
        plane = Plane()
        rows = b'{"a":0}\n{"bad":1}\nnothing\n{"a":3}\n'
        found = lines(await collected(run_of(plane, chunks_of(rows, b'{"a":4}\n{"a"', b":5}"))))
        assert [one.get("value") for one in found] == [0, None, None, 3, 4, 5]
        assert found[1] == {"line": 2, "error": "is bad", "kind": "invalid_input", "status": 400, "field": "bad"}
        assert found[2]["line"] == 3
        assert "character 1" in found[2]["error"]

    go(body)


def test_many_bad_rows_are_asked_for_one_by_one() -> None:
    async def body() -> None:
        plane = Plane()
        rows = b"".join(b'{"a":%d}\n' % n if n % 2 else b'{"bad":1}\n' for n in range(100))
        found = lines(await collected(run_of(plane, chunks_of(rows))))
        assert [one.get("value") for one in found] == [n if n % 2 else None for n in range(100)]
        assert plane.requests == 4 + 96

    go(body)


def test_no_more_is_read_than_may_be_in_flight() -> None:
    async def body() -> None:
        plane = Plane()
        plane.held = []
        fed = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal fed
            while True:
                await asyncio.sleep(0)
                fed += 1
                yield b'{"a":1}\n'

        run = run_of(plane, endless(), in_flight=4)
        for _ in range(200):
            await asyncio.sleep(0)
        assert plane.most_held <= 5
        assert fed <= 6
        await run.close()

    go(body)


def test_what_waits_for_its_end_counts_against_the_budget_of_large_bodies() -> None:
    async def body() -> None:
        shell = Shell(HotRoutes(), Lifecycle(), Metrics(), ShellLimits(bodies_bytes=300_000))
        whole = b'{"rows": [' + b'{"a": 1},' * 10_000 + b'{"a": 1}]}'

        def asking() -> BulkRun:
            chunks = chunks_of(*(whole[at : at + 20_000] for at in range(0, len(whole), 20_000)))
            reader = JsonReader(most_bytes=1 << 20, most_rows=1 << 20)
            return BulkRun(chunks, reader, LineWriter("row"), Resolver(Plane(), "m", Context("r")), held=Reservation(shell))

        assert len(lines(await collected(asking()))) == 10_001
        assert shell.budget_bytes == 300_000
        shell.budget_bytes = 70_000
        with pytest.raises(Overloaded):
            await collected(asking())
        assert shell.budget_bytes == 70_000
        # Lines are gone as they come: however many, they take nothing of it.
        rows = chunks_of(*([b'{"a": 1}\n' * 1000] * 30))
        run = BulkRun(rows, LineReader(), LineWriter("line"), Resolver(Plane(), "m", Context("r")), held=Reservation(shell))
        assert len(lines(await collected(run))) == 30_000

    go(body)


def test_a_client_that_does_not_read_stops_the_reading() -> None:
    async def body() -> None:
        plane = Plane()
        fed = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal fed
            while True:
                await asyncio.sleep(0)
                fed += 1
                yield b'{"a":1}\n' * 10

        run = run_of(plane, endless())
        await run.first()

        async def stuck(data: bytes) -> None:
            await asyncio.Event().wait()

        writing = asyncio.create_task(run.write_to(stuck))
        for _ in range(500):
            await asyncio.sleep(0)
        assert fed < 10
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await run.close()

    go(body)


def test_what_is_wrong_with_all_is_raised_before_anything_is_sent() -> None:
    async def body() -> None:
        plane = Plane()
        plane.errors = [NotReady("starting")]
        with pytest.raises(NotReady):
            await collected(run_of(plane, chunks_of(b'{"a":1}\n')))

    go(body)


def test_later_failures_are_lines_of_their_rows() -> None:
    async def body() -> None:
        plane = Plane()
        go_on = asyncio.Event()

        async def halves() -> AsyncIterator[bytes]:
            yield b'{"a":1}\n'
            await go_on.wait()
            yield b'{"a":2}\n{"a":3}\n'

        run = run_of(plane, halves())
        sent: list[bytes] = []

        async def send(data: bytes) -> None:
            plane.errors = [NotReady("gone")]
            go_on.set()
            sent.append(data)

        await run.first()
        await run.write_to(send)
        await run.close()
        one, two, three = lines(b"".join(sent))
        assert one == {"value": 1}
        assert (two["line"], two["status"], two["error"]) == (2, 503, "gone")
        assert (three["line"], three["status"]) == (3, 503)

    go(body)


def test_an_overloaded_server_is_waited_for() -> None:
    async def body() -> None:
        plane = Plane()
        plane.errors = [Overloaded("full", retry_after_s=0.001), Overloaded("full", retry_after_s=0.001)]
        assert lines(await collected(run_of(plane, chunks_of(b'{"a":1}\n')))) == [{"value": 1}]
        assert plane.requests == 3

    go(body)


def test_a_server_that_stays_overloaded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_transformer.http.bulk.resolving.PATIENCE_S", 0.0)

    async def body() -> None:
        plane = Plane()
        plane.errors = [Overloaded("full")]
        with pytest.raises(Overloaded):
            await collected(run_of(plane, chunks_of(b'{"a":1}\n')))

    go(body)


def test_a_client_that_leaves_ends_the_run() -> None:
    async def body() -> None:
        plane = Plane()
        assert lines(await collected(run_of(plane, chunks_of(b'{"a":1}\n', ClientDisconnect())))) == [{"value": 1}]

    go(body)


def test_a_fault_of_ours_while_reading_is_told_without_detail(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        run = run_of(Plane(), chunks_of(b'{"a":1}\n', RuntimeError("secret")))
        found = lines(await collected(run))
        assert found[-1]["status"] == 500
        assert "secret" not in json.dumps(found)
        assert run.failure is not None

    go(body)


def test_no_rows_have_no_answers() -> None:
    async def body() -> None:
        assert await collected(run_of(Plane(), chunks_of())) == b""
        assert await collected(run_of(Plane(), chunks_of(b"\n\n"), EventWriter("line"))) == b"event: end\ndata: {}\n\n"

    go(body)


def test_another_bundle_in_the_middle_is_named() -> None:
    async def body() -> None:
        plane = Plane()
        go_on = asyncio.Event()

        async def halves() -> AsyncIterator[bytes]:
            yield b'{"a":1}\n'
            await go_on.wait()
            yield b'{"a":2}\n'

        run = run_of(plane, halves())
        await run.first()
        plane.bundle = "m@sha256:2"
        go_on.set()
        sent: list[bytes] = []

        async def send(data: bytes) -> None:
            sent.append(data)

        await run.write_to(send)
        await run.close()
        assert run.bundle == "m@sha256:1"
        assert lines(b"".join(sent)) == [{"value": 1}, {"value": 2, "bundle": "m@sha256:2"}]

    go(body)


def test_events_have_ids_and_signs_of_life() -> None:
    async def body() -> None:
        plane = Plane()
        go_on = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b'{"a":1}\n{"bad":1}\n'
            await go_on.wait()

        run = run_of(plane, slow(), EventWriter("line"), heartbeat_s=0.001)
        sent: list[bytes] = []

        async def send(data: bytes) -> None:
            sent.append(data)
            if data.startswith(b":"):
                go_on.set()

        await run.first()
        await run.write_to(send)
        await run.close()
        text = b"".join(sent).decode()
        assert text.startswith('id: 1\ndata: {"value":1}\n\nid: 2\nevent: refused\ndata: {"line":2,')
        assert ": waiting\n\n" in text
        assert text.endswith("event: end\ndata: {}\n\n")

    go(body)
