"""Coming up and going down: readiness, draining without a lost request, what a second signal does, what a failed start does."""

import signal
import socket

import pytest

from penstock.testing.load import Load
from penstock.testing.raw_http import RawConnection, infer_body, raw_request
from penstock.testing.server import ServerProcess

INFER = "/v2/models/echo/infer"
REQUEST = raw_request("POST", INFER, infer_body([1.0, 2.0]))
LATE = raw_request("POST", INFER, infer_body([1.0], "delay", "late"))


def echo_server(*arguments: str) -> ServerProcess:
    return ServerProcess("penstock.testing.echo_server", *arguments)


def ready_status(port: int) -> int:
    with RawConnection(port) as connection:
        return connection.send(raw_request("GET", "/readyz")).answer().status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drains_under_load_without_a_failed_request(number):
    with echo_server("--drain_delay_s", "0.5") as server, Load(server.port, REQUEST) as load:
        load.wait_answered(200)
        server.signal(number)
        server.wait_event("draining", 10)
        result = load.join()
        assert server.wait() == 0
    assert result.failures == []
    assert set(result.statuses) == {200}
    assert result.refused > 0


def test_while_draining_it_serves_says_not_ready_and_closes_connections():
    with echo_server("--drain_delay_s", "2") as server, RawConnection(server.port) as kept:
        assert kept.send(REQUEST).answer().status == 200
        server.signal(signal.SIGTERM)
        server.wait_event("draining", 10)
        assert ready_status(server.port) == 503
        answer = kept.send(REQUEST).answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert kept.closed()
        with RawConnection(server.port) as another:
            assert another.send(REQUEST).answer().status == 200
        assert server.wait() == 0


def test_a_request_in_progress_is_answered_before_the_end():
    with (
        echo_server("--drain_delay_s", "0") as server,
        RawConnection(server.port) as connection,
        RawConnection(server.port) as chunked,
    ):
        connection.send(LATE)
        chunked.send(LATE.replace(b"Host: test\r\n", b"Host: test\r\nX-A: 1\r\nX-A: 2\r\n"))
        # The late answers are in progress once the server has taken both.
        with RawConnection(server.port) as other:
            assert other.send(REQUEST).answer().status == 200
        server.signal(signal.SIGTERM)
        assert connection.answer().json()["id"] == "late"
        assert chunked.answer().json()["id"] == "late"
        assert server.wait() == 0


def test_a_second_signal_does_not_wait():
    with echo_server("--drain_delay_s", "60") as server:
        server.signal(signal.SIGTERM)
        server.wait_event("draining", 10)
        server.signal(signal.SIGTERM)
        assert server.wait(20) == 0


def test_a_request_that_never_ends_does_not_hold_the_process():
    with echo_server("--drain_delay_s", "0", "--drain_timeout_s", "1") as server, RawConnection(server.port) as connection:
        connection.send(raw_request("POST", INFER, infer_body([600.0], "delay")))
        server.signal(signal.SIGTERM)
        assert server.wait(20) == 0


def test_a_taken_port_ends_the_program_with_a_reason():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = echo_server("--http_port", str(port)).start()
        event = server.wait_event("cannot listen", 30)
        assert (event["address"], event["reason"]) == (f"127.0.0.1:{port}", "Address already in use")
        assert server.wait() == 1
        assert not any("Traceback" in line for line in server.lines)


def test_a_start_that_fails_ends_the_program():
    server = echo_server("--start", "fails").start()
    server.wait_event("start failed", 30)
    assert server.wait() == 1


def test_while_starting_it_is_alive_and_refuses_with_503():
    server = echo_server("--start", "hangs").start()
    try:
        port = server.wait_event("listening", 30)["port"]
        with RawConnection(port) as connection:
            assert connection.send(raw_request("GET", "/healthz")).answer().json()["state"] == "starting"
            assert connection.send(raw_request("GET", "/readyz")).answer().json()["reasons"] == {"lifecycle": "starting"}
            assert connection.send(raw_request("GET", "/v2/health/ready")).answer().status == 503
            for request in (REQUEST, REQUEST.replace(b"Host", b"X-A: 1\r\nX-A: 2\r\nHost")):
                answer = connection.send(request).answer()
                assert answer.status == 503
                assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("1", "1000")
        assert server.stop() == 0
    finally:
        server.__exit__(None, None, None)
