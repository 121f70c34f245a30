"""What a production server has to put up with: too many connections, peers that do not read, leave half-way or say nothing."""

import select
import socket
import struct

import pytest

from penstock.testing.raw_http import RawConnection, infer_body, raw_request
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until

INFER = "/v2/models/echo/infer"
REQUEST = raw_request("POST", INFER, infer_body([1.0]))


@pytest.fixture
def connection(echo: ServerProcess):
    with RawConnection(echo.port) as opened:
        yield opened


def assert_serving(port: int) -> None:
    with RawConnection(port) as other:
        assert other.send(REQUEST).answer().status == 200


@pytest.fixture(scope="module")
def small():
    arguments = ("--max_connections", "4", "--keep_alive_s", "1", "--drain_delay_s", "0")
    with ServerProcess("penstock.testing.echo_server", *arguments) as server:
        yield server


class TestConnections:
    def test_one_too_many_is_told_so_and_the_others_are_served(self, small):
        opened = [RawConnection(small.port) for _ in range(4)]
        for each in opened:
            assert each.send(REQUEST).answer().status == 200
        with RawConnection(small.port) as surplus:
            answer = surplus.send(REQUEST).answer()
            assert (answer.status, answer.headers["connection"], answer.headers["retry-after"]) == (503, "close", "1")
            assert "takes 4" in answer.json()["detail"]
        for each in opened:
            assert each.send(REQUEST).answer().status == 200
        opened.pop().close()
        self.until_served(small.port)
        for each in opened:
            each.close()

    def test_connections_that_say_nothing_are_closed_and_make_room(self, small):
        """Half-open ones among them: all the server can see of those is that nothing comes."""
        self.until_served(small.port)
        silent = [RawConnection(small.port) for _ in range(3)]
        used = RawConnection(small.port)
        assert used.send(REQUEST).answer().status == 200
        for each in (*silent, used):
            assert each.closed()
            each.close()
        self.until_served(small.port)

    def until_served(self, port: int) -> None:
        """A closed connection is a moment on its way; until then there is no room for another."""

        def served() -> bool:
            with RawConnection(port) as connection:
                status = connection.send(REQUEST).answer().status
            assert status in (200, 503)
            return status == 200

        until(served)


class TestPeers:
    def test_a_reader_that_stands_still_is_cut(self, echo):
        """The fixture allows two seconds without room for a byte of an answer."""
        large = raw_request("POST", INFER, infer_body([0.5] * 10_000))
        with RawConnection(echo.port, receive_buffer=4096) as connection:
            connection.sock.settimeout(0.5)
            try:
                while True:
                    connection.sock.send(large)
            except TimeoutError:
                pass
            except OSError:
                return  # cut while it was still sending
            poll = select.poll()
            poll.register(connection.sock, 0)
            events = poll.poll(20_000)
            assert events
            assert events[0][1] & (select.POLLHUP | select.POLLERR)
        assert_serving(echo.port)

    def test_a_connection_that_is_reset_in_a_request_harms_nobody(self, echo):
        for data in (REQUEST[:40], REQUEST[:-3], raw_request("POST", INFER, infer_body([0.2], "delay"))):
            connection = RawConnection(echo.port)
            connection.send(data)
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        assert_serving(echo.port)

    def test_a_caller_that_only_stops_sending_counts_as_gone(self, connection, echo):
        """The end of its stream looks the same as its leaving, and a run for nobody costs others theirs."""
        connection.send(raw_request("POST", INFER, infer_body([5.0], "delay")))
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.closed()
        assert_serving(echo.port)

    def test_half_a_request_then_the_end(self, connection, echo):
        connection.send(REQUEST[:-2])
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.closed()
        assert_serving(echo.port)


class TestHeads:
    def test_many_small_headers_are_one_large_head(self, connection):
        headers = {f"X-{number}": "a" * 50 for number in range(2000)}
        connection.send(raw_request("GET", "/v2", headers=headers))
        assert connection.answer().status == 431

    @pytest.mark.parametrize("head", ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nhost: a\r\n"])
    @pytest.mark.parametrize("path", ["/v2/models/echo/infer", "/healthz"])
    def test_a_request_has_one_host(self, connection, head, path):
        body = infer_body([1.0])
        connection.send(f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode(), body)
        answer = connection.answer()
        assert answer.status == 400
        assert "Host" in answer.body.decode()
        assert connection.send(REQUEST).answer().status == 200

    def test_http_1_0_needs_no_host(self, connection):
        connection.send(b"GET /v2 HTTP/1.0\r\n\r\n")
        assert connection.answer().status == 200

    @pytest.mark.parametrize("line", ["X-A: 1\r\n folded", "X A: 1", "X-A : 1", ": nothing", "X-A\x00: 1", "X-A: \x01"])
    def test_headers_that_are_none(self, echo, connection, line):
        connection.send(f"GET /v2 HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n".encode())
        assert connection.answer().status == 400
        assert_serving(echo.port)

    def test_another_expectation_does_not_hang(self, connection):
        connection.send(REQUEST.replace(b"Host: test\r\n", b"Host: test\r\nExpect: tea\r\n"))
        assert connection.answer().status in (200, 417)

    def test_a_body_that_nobody_asked_for_is_still_read(self, connection):
        """With Expect, the client may send without waiting for 100: it must not be taken for the next request."""
        connection.send(REQUEST.replace(b"Host: test\r\n", b"Host: test\r\nExpect: 100-continue\r\n"), REQUEST)
        statuses = [connection.answer().status for _ in range(2)]
        if statuses[0] == 100:
            statuses = [*statuses[1:], connection.answer().status]
        assert statuses == [200, 200]
