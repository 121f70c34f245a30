"""The application's own edges, over the fast protocol without a network: members' routes, faults, limits, loss of the caller."""

import asyncio

import orjson
from fastapi import Request

from penstock.errors import Conflict, Overloaded
from penstock.testing.raw_http import raw_request


async def settle(transport, count, rounds=2000):
    """Let the loop run until so many answers are written."""
    for _ in range(rounds):
        if len(transport.statuses) >= count:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{transport.statuses} after {rounds} rounds")


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


def twice(request: bytes) -> bytes:
    """The same request with a header given twice, which the framework answers."""
    return request.replace(b"Host: test\r\n", b"Host: test\r\nX-A: 1\r\nX-A: 2\r\n")


def chunked(path: str, *chunks: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"POST %b HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n%b" % (path.encode(), body)


def add_members_routes(app):
    @app.post("/members/json")
    async def takes_json(request: Request):
        return {"length": len(await request.body())}

    @app.post("/members/typed")
    async def takes_a_number(body: dict[str, int]):
        return body

    @app.get("/members/{what}")
    async def raises(what: str):
        if what == "conflict":
            raise Conflict("is there already", field="id")
        if what == "overloaded":
            raise Overloaded("full", retry_after_s=3)
        raise RuntimeError("secret detail")


def test_a_fault_in_a_members_route_is_a_plain_500_and_keeps_the_connection(run, caplog):
    async def body(bench):
        add_members_routes(bench.service.app)
        protocol, transport = bench.connect()
        protocol.data_received(
            raw_request("GET", "/members/fault", headers={"X-Request-Id": "r-1"}) + raw_request("GET", "/healthz")
        )
        await settle(transport, 2)
        assert transport.statuses == [500, 200]
        assert b"x-request-id: r-1\r\n" in transport.written
        assert b"secret" not in transport.written
        assert not transport.closing

    run(body)
    assert any(record.exc_info and getattr(record, "request_id", None) == "r-1" for record in caplog.records)


def test_errors_of_members_take_the_table(run):
    async def body(bench):
        add_members_routes(bench.service.app)
        protocol, transport = bench.connect()
        protocol.data_received(raw_request("GET", "/members/conflict") + raw_request("GET", "/members/overloaded"))
        protocol.data_received(raw_request("POST", "/members/typed", b'{"a": "b"}', {"Content-Type": "application/json"}))
        await settle(transport, 3)
        assert transport.statuses == [409, 429, 400]
        assert b'"field":"id"' in transport.written
        assert b"retry-after-ms: 3000" in transport.written
        assert b'"field":"body.a"' in transport.written

    run(body)


def test_chunks_are_held_to_the_limit_on_every_route(run):
    async def body(bench):
        add_members_routes(bench.service.app)
        for path in ("/members/json", "/members/typed", "/now/a"):
            protocol, transport = bench.connect()
            protocol.data_received(chunked(path, b"x" * 600, b"x" * 600))
            await settle(transport, 1)
            assert transport.statuses == [413], path
            problem = orjson.loads(transport.written.partition(b"\r\n\r\n")[2])
            assert "at most 1000 bytes" in problem["detail"]
        protocol, transport = bench.connect()
        protocol.data_received(chunked("/members/json", b"x" * 900))
        await settle(transport, 1)
        assert transport.statuses == [200]

    run(body, body_bytes=1000)


def test_a_held_exchange_answers_through_the_framework_too(run):
    async def body(bench):
        protocol, transport = bench.connect()
        protocol.data_received(twice(raw_request("POST", "/hold/a", b"{}")))
        await turns(200)
        (exchange,) = bench.held
        assert (exchange.params, exchange.body, exchange.path, exchange.header(b"x-a")) == (("a",), b"{}", b"/hold/a", b"1, 2")
        assert bench.shell.metrics.in_flight("").count == 1
        exchange.fail(Overloaded("full"))
        exchange.answer(200, b"ignored")
        await settle(transport, 1)
        assert transport.statuses == [429]
        assert bench.shell.metrics.in_flight("").count == 0

    run(body)


def test_a_caller_that_leaves_is_noticed_through_the_framework_too(run):
    async def body(bench):
        protocol, transport = bench.connect()
        protocol.data_received(twice(raw_request("POST", "/hold/a", b"{}")))
        await turns(200)
        transport.close()
        protocol.connection_lost(None)
        await turns(20)
        assert bench.held[0].disconnected
        assert bench.shell.metrics.in_flight("").count == 0
        bench.held[0].answer(200, b"to nobody")

    run(body)


def test_a_handler_that_raises_through_the_framework_shows_no_detail(run):
    async def body(bench):
        protocol, transport = bench.connect()
        protocol.data_received(twice(raw_request("POST", "/now/fault", b"")) + twice(raw_request("POST", "/now/wrong", b"")))
        await settle(transport, 2)
        assert transport.statuses == [500, 400]
        assert b"secret" not in transport.written

    run(body)
