"""Heads that were parsed before: same bytes, same answer; nothing is taken for what it is not; memory is bounded."""

import pytest

from penstock.serving.heads import HEADS_KEPT

HEAD = b"POST /now/%b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"


def request(body: bytes, what: bytes = b"x") -> bytes:
    return HEAD % (what, len(body)) + body


def bodies(transport) -> list[bytes]:
    return [part.split(b"\r\n\r\n", 1)[1] for part in transport.written.split(b"HTTP/1.1 ")[1:]]


def test_the_same_head_with_other_bodies_is_answered_by_its_own_body(run) -> None:
    async def body(bench) -> None:
        protocol, transport = bench.connect()
        other, answers = bench.connect()
        for text in (b"one", b"two", b"six"):
            protocol.data_received(request(text))
            other.data_received(request(text[::-1]))
        assert bodies(transport) == [b"one", b"two", b"six"]
        assert bodies(answers) == [b"eno", b"owt", b"xis"]
        assert len(protocol.heads) == 1

    run(body)


def test_another_length_is_another_head(run) -> None:
    async def body(bench) -> None:
        protocol, transport = bench.connect()
        for text in (b"a", b"", b"abc", b"", b"a"):
            protocol.data_received(request(text))
        assert bodies(transport) == [b"a", b"x", b"abc", b"x", b"a"]

    run(body)


@pytest.mark.parametrize("cut", range(1, len(request(b"body")) - 1))
def test_a_known_head_in_pieces_is_parsed(run, cut: int) -> None:
    async def body(bench) -> None:
        protocol, transport = bench.connect()
        whole = request(b"body")
        protocol.data_received(whole)
        protocol.data_received(whole[:cut])
        protocol.data_received(whole[cut:])
        protocol.data_received(whole)
        assert transport.statuses == [200, 200, 200]
        assert bodies(transport) == [b"body"] * 3

    run(body)


def test_known_heads_pipelined_are_answered_in_order(run) -> None:
    async def body(bench) -> None:
        protocol, transport = bench.connect()
        protocol.data_received(request(b"1"))
        protocol.data_received(request(b"2") + request(b"3") + request(b"4"))
        protocol.data_received(request(b"5"))
        assert bodies(transport) == [b"1", b"2", b"3", b"4", b"5"]

    run(body)


def test_a_known_head_behind_an_unanswered_request_waits(run) -> None:
    async def body(bench) -> None:
        protocol, transport = bench.connect()
        protocol.data_received(request(b"1"))
        protocol.data_received(b"POST /hold/a HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        protocol.data_received(request(b"2"))
        assert bodies(transport) == [b"1"]
        bench.held[0].answer(200, b"held")
        assert bodies(transport) == [b"1", b"held", b"2"]

    run(body)


def test_a_known_head_on_a_broken_connection_is_not_answered(run) -> None:
    async def body(bench) -> None:
        protocol, transport = bench.connect()
        protocol.data_received(request(b"1"))
        protocol.data_received(b"garbage\r\n\r\n")
        protocol.data_received(request(b"2"))
        assert transport.written.count(b"HTTP/1.1 200 ") == transport.written.count(b"HTTP/1.1 400 ") == 1
        assert transport.closing

    run(body)


@pytest.mark.parametrize("line", [b"x-request-id: 7", b"traceparent: 00-0-0-00", b"connection: close"])
def test_heads_that_differ_by_nature_are_not_kept(run, line: bytes) -> None:
    async def body(bench) -> None:
        protocol, _ = bench.connect()
        protocol.data_received(b"POST /now/x HTTP/1.1\r\n" + line + b"\r\ncontent-length: 1\r\n\r\na")
        assert len(protocol.heads) == 0

    run(body)


def test_requests_below_a_parsers_dignity_are_not_kept(run) -> None:
    """Refused, chunked, of no hot route, without a body, or with a head too long to be worth it."""

    async def body(bench) -> None:
        for data in (
            request(b"x" * 2000),
            b"POST /now/x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            b"GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n",
            request(b"a", b"x" * 2000),
            b"GET /now/record-7 HTTP/1.1\r\nhost: a\r\n\r\n",
        ):
            protocol, _ = bench.connect()
            protocol.data_received(data)
            assert len(protocol.heads) == 0

    run(body, body_bytes=1000)


def test_what_is_kept_is_bounded(run) -> None:
    async def body(bench) -> None:
        protocol, transport = bench.connect()
        for number in range(HEADS_KEPT + 10):
            protocol.data_received(request(b"a", b"%d" % number))
        assert len(protocol.heads) == 10
        assert transport.statuses == [200] * (HEADS_KEPT + 10)

    run(body)


def test_a_drain_closes_known_heads_too(run) -> None:
    async def body(bench) -> None:
        protocol, transport = bench.connect()
        protocol.data_received(request(b"1"))
        bench.shell.draining = True
        protocol.data_received(request(b"2"))
        assert transport.statuses == [200, 200]
        assert b"connection: close" in transport.written
        assert transport.closing

    run(body)
