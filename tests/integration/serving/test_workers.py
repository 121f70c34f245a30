"""Several workers on one port under a parent: merged counters, replaced workers, shared signals, one admin port."""

import os
import re
import signal
from collections.abc import Iterator

import orjson
import pytest

from penstock.cpus import cpu_limit
from penstock.testing.load import Load
from penstock.testing.plane import BUNDLE
from penstock.testing.raw_http import RawConnection, infer_body, raw_request
from penstock.testing.server import ServerProcess

REQUEST = raw_request("POST", "/v2/models/echo/infer", infer_body([1.0, 2.0]))
SERIES = f'penstock_requests_total{{bundle="{BUNDLE}",model="echo"}}'

pytestmark = pytest.mark.skipif(cpu_limit() < 2, reason="needs two CPUs: with one, workers are capped at one")


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with ServerProcess("penstock.testing.echo_server", "--workers", "2", "--drain_delay_s", "0.3") as running:
        yield running


def get(port: int, path: str) -> bytes:
    with RawConnection(port) as connection:
        return connection.send(raw_request("GET", path)).answer().body


def counted(port: int) -> float:
    match = re.search(re.escape(SERIES) + r" (\S+)", get(port, "/metrics").decode())
    return float(match[1]) if match else 0.0


def pids(server: ServerProcess) -> list[int]:
    return [worker["pid"] for worker in orjson.loads(get(server.admin_port, "/status"))["workers"]]


def test_metrics_are_those_of_all_workers_from_every_port(server):
    for _ in range(40):
        with RawConnection(server.port) as connection:
            assert connection.send(REQUEST).answer().status == 200
    assert {counted(server.port) for _ in range(6)} == {40}
    assert counted(server.admin_port) == 40


def test_a_killed_worker_is_replaced_and_its_counters_stay(server):
    for _ in range(20):
        with RawConnection(server.port) as connection:
            connection.send(REQUEST).answer()
    assert counted(server.admin_port) == 20
    before = pids(server)
    os.kill(before[0], signal.SIGKILL)
    server.wait_event("worker died", 10)
    server.wait_event("worker started", 10, lambda event: event["worker_pid"] not in before)
    assert counted(server.admin_port) == 20
    server.wait_event("ready", 30, lambda event: "workers" in event)
    with RawConnection(server.port) as connection:
        assert connection.send(REQUEST).answer().status == 200


def test_a_signal_to_the_parent_drains_all_workers_without_a_failed_request(server):
    with Load(server.port, REQUEST) as load:
        load.wait_answered(200)
        server.signal(signal.SIGTERM)
        result = load.join()
    assert server.wait() == 0
    assert result.failures == []
    assert set(result.statuses) == {200}


def test_workers_end_when_their_parent_is_killed(server):
    server.signal(signal.SIGKILL)
    # The output ends when the last process that holds it is gone, and `wait` waits for that too.
    assert server.wait() == -signal.SIGKILL
    assert server.output_ended
    assert [event["event"] for event in server.events].count("stopped") == 2


def test_an_admin_route_is_asked_of_every_worker_and_merged(server):
    with RawConnection(server.admin_port) as connection:
        answer = connection.send(raw_request("POST", "/echo/models/flights?a=1", b'{"b": [2]}')).answer()
        assert answer.json() == {"workers": 2, "arguments": {"model": "flights", "a": "1", "b": [2]}}
        answer = connection.send(raw_request("GET", "/echo/models/flights")).answer()
        assert answer.status == 404
        assert "POST /echo/models/{model}" in answer.json()["detail"]
        answer = connection.send(raw_request("POST", "/echo/models/wrong")).answer()
        assert (answer.status, answer.json()["field"]) == (400, "model")
        assert connection.send(raw_request("POST", "/echo/models/x", b"[1]")).answer().status == 400


def test_workers_that_cannot_start_end_the_program():
    server = ServerProcess("penstock.testing.echo_server", "--workers", "2", "--start", "fails").start()
    server.wait_event("worker failed to start", 60)
    assert server.wait() == 1


def test_a_worker_that_hangs_at_the_end_is_killed_and_that_is_no_good_end():
    arguments = ("--workers", "2", "--stop", "hangs", "--drain_delay_s", "0", "--drain_timeout_s", "0.2")
    with ServerProcess("penstock.testing.echo_server", *arguments) as server:
        server.signal(signal.SIGTERM)
        assert server.wait(30) == 1
        killed = [event for event in server.events if event["event"] == "worker hangs, killed"]
        assert len(killed) == 2


def test_no_more_workers_than_processors():
    with ServerProcess("penstock.testing.echo_server", "--workers", "1000") as server:
        assert server.wait_event("fewer workers than asked for", 5)["workers"] == cpu_limit()
