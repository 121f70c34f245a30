"""What a hostile or broken client sends on one connection: it costs bounded memory, and one answer or none."""

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serving.fast import SLICE_BYTES
from penstock.testing.raw_http import raw_request

PIECES = [
    raw_request("GET", "/now/a"),
    raw_request("POST", "/now/a", b"abc"),
    raw_request("POST", "/hold/a", b"{}"),
    raw_request("POST", "/now/a", b"y" * 80_000),
    raw_request("POST", "/now/a", None, {"Content-Length": "99999"}),
    raw_request("POST", "/now/a", None, {"Transfer-Encoding": "chunked"}),
    raw_request("POST", "/now/a", None, {"Transfer-Encoding": "chunked", "Content-Length": "3"}),
    raw_request("POST", "/now/a", None, {"Expect": "100-continue", "Content-Length": "3"}),
    raw_request("POST", "/now/wrong", b""),
    raw_request("POST", "/now/fault", b""),
    raw_request("GET", "/now/a", b"abcd", {"Upgrade": "websocket", "Connection": "upgrade"}),
    raw_request("GET", "/healthz", None, {"Upgrade": "h2c", "Connection": "upgrade"}),
    raw_request("GET", "/healthz", None, {"Connection": "close"}),
    raw_request("HEAD", "/healthz"),
    raw_request("OPTIONS", "*"),
    raw_request("CONNECT", "a:1"),
    b"GET /healthz HTTP/1.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    *(b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"abc", b"\r\n", b"x" * 5000),
]
CHUNKED = b"POST /healthz HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"


async def settle(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("target", [b"example.com:443", b"/now/a"])
def test_a_tunnel_is_refused_once(run, target):
    async def body(bench):
        protocol, transport = bench.connect()
        protocol.data_received(b"CONNECT " + target + b" HTTP/1.1\r\nHost: t\r\n\r\n")
        await settle()
        assert transport.statuses == [400]
        assert transport.closing

    run(body)


def test_trailers_have_the_limit_of_a_head(run):
    async def body(bench):
        protocol, transport = bench.connect()
        protocol.data_received(CHUNKED + b"1\r\nx\r\n0\r\n")
        for number in range(400):
            protocol.data_received(b"X-%d: %s\r\n" % (number, b"v" * 1000))
        await settle()
        assert transport.statuses[-1] == 431
        assert sum(len(value) for _, value in protocol.headers) < 3 * bench.shell.limits.head_bytes

    run(body)


def test_an_application_that_does_not_read_holds_its_client_back(run):
    """However large the pieces that the network delivers."""

    async def body(bench):
        held = asyncio.Event()

        async def lazy(scope, receive, send):
            await held.wait()
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        bench.config.loaded_app = lazy
        protocol, transport = bench.connect()
        protocol.data_received(CHUNKED)
        sent = 0
        while transport.reading and sent < 64:
            protocol.data_received(b"%x\r\n%s\r\n" % (4 * SLICE_BYTES, b"x" * 4 * SLICE_BYTES))
            sent += 1
            await settle(2)
        assert sent < 8
        protocol.resume_writing()
        assert not transport.reading
        held.set()
        await settle(50)
        assert transport.reading
        protocol.data_received(b"0\r\n\r\n")
        await settle(50)
        assert transport.statuses == [204]

    run(body)


def test_a_request_that_has_its_answer_gets_no_second_one(run):
    """A fault in the rest of its body ends the connection without a word: what is written now belongs to the next request."""

    async def body(bench):
        protocol, transport = bench.connect()
        protocol.data_received(CHUNKED.replace(b"/healthz", b"/nothing"))
        await settle(50)
        assert transport.statuses == [404]
        protocol.data_received(b"not a chunk\r\n")
        assert transport.statuses == [404]
        assert transport.closing

    run(body)


def test_one_trailer_without_an_end_has_the_limit_too(run):
    async def body(bench):
        protocol, transport = bench.connect()
        protocol.data_received(CHUNKED + b"1\r\nx\r\n0\r\nX-Long: ")
        for _ in range(40):
            protocol.data_received(b"v" * 1000)
        await settle()
        assert transport.statuses[-1] == 431

    run(body)


def test_trailers_never_become_headers(run):
    async def body(bench):
        protocol, transport = bench.connect()
        held = raw_request("POST", "/hold/a", None, {"Transfer-Encoding": "chunked"})
        protocol.data_received(held + b"1\r\nx\r\n0\r\nPenstock-Priority: -9\r\n\r\n")
        await settle(50)
        (exchange,) = bench.held
        assert exchange.header(b"penstock-priority") is None
        exchange.answer(200, b"")
        await settle(50)
        assert transport.statuses == [200]

    run(body)


@pytest.mark.parametrize("large", [1, 3])
def test_bodies_larger_than_a_head_may_be_pass_in_pieces(run, large):
    async def body(bench):
        protocol, transport = bench.connect()
        pieces = [b"x" * 1000] * 50 * large
        protocol.data_received(raw_request("POST", "/now/a", b"".join(pieces))[: -1000 * len(pieces)])
        for piece in pieces:
            protocol.data_received(piece)
        protocol.data_received(raw_request("POST", "/now/a", None, {"Transfer-Encoding": "chunked"}))
        for piece in pieces:
            protocol.data_received(b"%x\r\n%s\r\n" % (len(piece), piece))
            await settle(2)
        protocol.data_received(b"0\r\n\r\n")
        await settle(50)
        assert transport.statuses == [200, 200]

    run(body, head_bytes=4000)


@pytest.mark.parametrize("path", ["/now/100%2525", "/now/%C3%A9%20b", "/now/a+b"])
def test_a_path_means_the_same_on_both_ways(run, path):
    async def body(bench):
        protocol, transport = bench.connect()
        protocol.data_received(raw_request("GET", path) + raw_request("GET", path, None, {"X-A": "1", "x-a": "2"}))
        await settle(50)
        first, second = transport.written.split(b"HTTP/1.1 200 OK")[1:]
        assert first.rpartition(b"\r\n")[2] == second.rpartition(b"\r\n")[2]

    run(body)


def test_bodies_of_no_told_length_share_the_budget_of_large_ones(run):
    """Chunked or not, large bodies that are held at once have one limit; it is given back with each answer, and by who leaves."""

    async def body(bench):
        def send_chunked(size: int):
            protocol, transport = bench.connect()
            protocol.data_received(raw_request("POST", "/hold/a", None, {"Transfer-Encoding": "chunked"}))
            protocol.data_received(b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size))
            return protocol, transport

        _, first = send_chunked(150_000)
        await settle(100)
        _, second = send_chunked(150_000)
        await settle(100)
        assert (len(bench.held), second.statuses) == (1, [429])
        bench.held[0].answer(200, b"")
        await settle(100)
        assert first.statuses == [200]
        left, _ = send_chunked(150_000)
        await settle(100)
        assert len(bench.held) == 2
        left.connection_lost(None)
        await settle(100)
        assert bench.shell.budget_bytes == 200_000

    run(body, bodies_bytes=200_000)


def test_a_fault_is_answered_once_however_slowly_it_is_read(run):
    async def body(bench):
        protocol, transport = bench.connect()
        protocol.data_received(b"GET /now/a HTTP/1.1\r\nX-Long: ")
        protocol.data_received(b"x" * 5000)
        for _ in range(3):
            protocol.pause_writing()
            protocol.resume_writing()
        assert transport.statuses == [431]

    run(body, head_bytes=4000)


@settings(max_examples=100)
@given(
    pieces=st.lists(st.tuples(st.sampled_from(PIECES), st.one_of(st.none(), st.integers(0, 90))), min_size=1, max_size=12),
    events=st.lists(st.sampled_from(["answer", "pause", "resume", "sweep", "settle"]), max_size=30),
)
def test_any_pieces_in_any_order_end_well(run, pieces, events):
    """Requests whole and cut, chunks out of nowhere, a client that stops reading: at most an answer each and one for a fault, and
    everything that was held is given back."""

    async def body(bench):
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        protocol, transport = bench.connect()
        answered = 0
        queue = list(events)
        for piece, cut in pieces:
            if transport.closing:
                break
            protocol.data_received(piece[:cut])
            match queue.pop() if queue else "settle":
                case "pause":
                    protocol.pause_writing()
                case "resume":
                    protocol.resume_writing()
                case "sweep":
                    protocol.sweep()
                case "answer" if answered < len(bench.held):
                    bench.held[answered].answer(201, b"held")
                    answered += 1
                case _:
                    await settle(8)
        protocol.resume_writing()
        for _ in range(60):
            await asyncio.sleep(0)
            while answered < len(bench.held):
                bench.held[answered].answer(201, b"held")
                answered += 1
        for _ in range(bench.shell.limits.body_timeout_s + 10):
            protocol.sweep()
        assert transport.closing
        protocol.connection_lost(None)
        await settle(30)
        assert not faults
        begun = sum(b" HTTP/" in piece for piece, _ in pieces)
        assert len(re.findall(rb"HTTP/1\.1 [2-5]\d\d ", transport.written)) <= begun + 1
        assert bench.shell.budget_bytes == 200_000
        assert bench.shell.metrics.in_flight("").count == 0

    run(body, body_bytes=90_000, bodies_bytes=200_000, head_bytes=2000)
