"""The byte stream of one connection: order, faults, limits, flow control."""

import socket
import time
from pathlib import Path

import pytest

from penstock.testing.raw_http import RawConnection, infer_body, raw_request
from penstock.testing.server import ServerProcess

INFER = "/v2/models/echo/infer"


def infer_request(id: str, name: str = "x", values: tuple[float, ...] = (1.0,), **headers: str) -> bytes:
    return raw_request("POST", INFER, infer_body(list(values), name, id), headers)


@pytest.fixture
def connection(echo: ServerProcess):
    with RawConnection(echo.port) as opened:
        yield opened


def assert_serving(echo: ServerProcess) -> None:
    with RawConnection(echo.port) as other:
        assert other.send(infer_request("alive")).answer().status == 200


class TestOrder:
    def test_keeps_the_connection(self, connection):
        for number in range(3):
            answer = connection.send(infer_request(str(number))).answer()
            assert (answer.status, answer.json()["id"]) == (200, str(number))

    def test_answers_a_pipeline_in_order_whichever_way_each_request_takes(self, connection):
        late = raw_request("POST", INFER, infer_body([0.2], "delay", "late"))
        slow = raw_request("GET", "/v2")
        wrong = raw_request("POST", INFER, b"{")
        connection.send(late, infer_request("fast"), slow, wrong, slow, infer_request("last"))
        answers = [connection.answer() for _ in range(6)]
        assert [answer.status for answer in answers] == [200, 200, 200, 400, 200, 200]
        assert [answer.json().get("id") for answer in answers] == ["late", "fast", None, None, None, "last"]
        assert answers[2].json()["name"] == "penstock"

    def test_answers_a_pipeline_longer_than_what_is_parsed_at_once(self, connection):
        count = 3000
        connection.sock.sendall(b"".join(infer_request(str(number)) for number in range(200)))
        sent = 200
        for number in range(count):
            assert connection.answer().json()["id"] == str(number)
            if sent < count:
                connection.send(infer_request(str(sent)))
                sent += 1

    def test_takes_a_request_byte_by_byte(self, connection):
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in infer_request("drip"):
            connection.send(bytes([byte]))
        assert connection.answer().json()["id"] == "drip"

    def test_closes_when_asked_to(self, connection):
        answer = connection.send(infer_request("bye", Connection="close"), infer_request("ignored")).answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.closed()


class TestFaults:
    def test_garbage_alone_gets_a_json_error_and_a_closed_connection(self, connection):
        answer = connection.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n").answer()
        assert answer.status == 400
        assert "HTTP/1.1" in answer.json()["detail"]
        assert connection.closed()

    def test_garbage_behind_a_good_request_does_not_cost_its_answer(self, connection):
        late = raw_request("POST", INFER, infer_body([0.1], "delay", "good"))
        connection.send(late, infer_request("also"), b"NONSENSE\r\n\r\n")
        assert connection.answer().json()["id"] == "good"
        assert connection.answer().json()["id"] == "also"
        assert connection.answer().status == 400
        assert connection.closed()

    def test_a_length_that_is_too_small_spoils_only_what_follows(self, connection):
        body = infer_body([1.0], id="short")
        request = raw_request("POST", INFER, body + b"trailing rubbish")
        request = request.replace(b"Content-Length: %d" % (len(body) + 16), b"Content-Length: %d" % len(body))
        connection.send(request)
        assert connection.answer().json()["id"] == "short"
        assert connection.answer().status == 400
        assert connection.closed()

    def test_a_length_that_is_too_large_gets_408(self, connection):
        body = infer_body([1.0])
        connection.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (INFER.encode(), len(body) + 5, body))
        answer = connection.answer()
        assert answer.status == 408
        assert "error" in answer.json()
        assert connection.closed()

    def test_half_a_head_gets_408(self, connection):
        connection.send(b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: a\r\nContent-")
        assert connection.answer().status == 408
        assert connection.closed()

    def test_half_a_request_behind_a_good_one_gets_408_after_its_answer(self, connection):
        connection.send(infer_request("good"), b"POST /v2/mod")
        assert connection.answer().json()["id"] == "good"
        assert connection.answer().status == 408

    @pytest.mark.parametrize("length", ["-1", "abc", "1, 2", "99999999999999999999999"])
    def test_a_length_that_is_no_number_gets_400(self, echo, connection, length):
        connection.send(f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode())
        assert connection.answer().status in (400, 413)
        assert_serving(echo)

    def test_length_and_chunks_together_are_refused(self, connection):
        connection.send(
            f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()
        )
        assert connection.answer().status == 400
        assert connection.closed()

    def test_a_broken_chunk_gets_400(self, echo, connection):
        connection.send(f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".encode())
        assert connection.answer().status == 400
        assert connection.closed()
        assert_serving(echo)


class TestLimits:
    def test_a_body_over_the_limit_is_refused_before_it_is_sent(self, connection):
        connection.send(f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n".encode())
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert "200000 bytes" in answer.json()["error"]

    def test_a_client_that_sends_the_whole_body_first_still_reads_the_refusal(self, connection):
        connection.send(raw_request("POST", INFER, b"x" * 3_000_000))
        assert connection.answer().status == 413
        assert connection.closed()

    @pytest.mark.parametrize("path", [INFER, "/v2/models/echo/load"])
    def test_the_limit_holds_for_every_path_and_with_expect(self, connection, path):
        connection.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n".encode())
        assert connection.answer().status == 413

    def test_chunks_over_the_limit_are_refused(self, connection):
        chunk = b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000)
        connection.send(
            f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode(), chunk * 6, b"0\r\n\r\n"
        )
        assert connection.answer().status == 413
        assert connection.send(infer_request("next")).answer().json()["id"] == "next"

    def test_a_large_body_within_the_limit_is_taken(self, connection):
        values = [float(number) for number in range(20_000)]
        answer = connection.send(raw_request("POST", INFER, infer_body(values))).answer()
        assert answer.json()["outputs"][0]["data"] == values

    def test_a_refusal_waits_for_its_turn(self, connection):
        late = raw_request("POST", INFER, infer_body([0.1], "delay", "late"))
        connection.send(late, f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n".encode())
        assert connection.answer().json()["id"] == "late"
        assert connection.answer().status == 413

    def test_a_header_over_the_limit_gets_431(self, echo, connection):
        connection.send(raw_request("GET", "/v2", headers={"X-Long": "a" * 100_000}))
        assert connection.answer().status == 431
        assert_serving(echo)

    def test_a_path_over_the_limit_gets_431(self, connection):
        connection.send(raw_request("GET", "/v2/" + "a" * 100_000))
        assert connection.answer().status == 431


class TestFlow:
    def test_a_pipelining_client_that_does_not_read_is_held_back(self, echo):
        before = resident_bytes(echo.pid)
        request = raw_request("GET", "/v2/health/live")
        with RawConnection(echo.port, receive_buffer=4096) as connection:
            sent = send_until_held(connection, request * 2000, most=14_000_000)
            assert sent < 14_000_000
            assert resident_bytes(echo.pid) - before < 32_000_000
            assert_serving(echo)
            # Reading again lets it go on.
            for _ in range(500):
                assert connection.answer().status == 200

    def test_a_client_that_does_not_read_large_answers_is_held_back(self, echo):
        before = resident_bytes(echo.pid)
        request = raw_request("POST", INFER, infer_body([0.5] * 10_000))
        with RawConnection(echo.port, receive_buffer=4096) as connection:
            sent = send_until_held(connection, request * 20, most=60_000_000)
            assert sent < 60_000_000
            assert resident_bytes(echo.pid) - before < 32_000_000
            assert_serving(echo)

    def test_a_caller_that_leaves_while_it_waits_harms_nobody(self, echo):
        leaving = [RawConnection(echo.port) for _ in range(20)]
        for connection in leaving:
            connection.send(raw_request("POST", INFER, infer_body([0.3], "delay")))
            connection.close()
        assert_serving(echo)
        assert in_flight(echo) == 0

    def test_many_connections_at_once(self, echo):
        connections = [RawConnection(echo.port) for _ in range(100)]
        for number, connection in enumerate(connections):
            connection.send(infer_request(str(number), values=(float(number),)))
        for number, connection in enumerate(connections):
            answer = connection.answer().json()
            assert (answer["id"], answer["outputs"][0]["data"]) == (str(number), [float(number)])
            connection.close()


def send_until_held(connection: RawConnection, block: bytes, most: int) -> int:
    """Send until the server has taken nothing for a second; the number of bytes it took."""
    connection.sock.settimeout(1.0)
    sent = 0
    try:
        while sent < most:
            sent += connection.sock.send(block[sent % len(block) :])
    except TimeoutError:
        pass
    connection.sock.settimeout(connection.timeout_s)
    return sent


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def in_flight(echo: ServerProcess, within_s: float = 10.0) -> int:
    """The gauge, once it has come to rest or the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        with RawConnection(echo.port) as connection:
            text = connection.send(raw_request("GET", "/metrics")).answer().body.decode()
        line = next(line for line in text.splitlines() if line.startswith('penstock_in_flight{model="echo"}'))
        count = int(float(line.split()[1]))
        if count == 0 or time.monotonic() > deadline:
            return count
