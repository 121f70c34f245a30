"""Faults of the worker and of what it stands on, each caused: afterwards every request has exactly one output."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest

from penstock.testing.servers import RedisServer
from penstock.testing.shared_servers import started
from penstock.testing.waiting import until
from penstock_transformer.broker.settings import CLIENTS

# Seconds each where the machine is free; several processes are started in every one.
pytestmark = pytest.mark.timeout(300)
POINTS = ("worker.predicted", "worker.begun", "worker.produced", "worker.offsets_sent", "worker.committed")


@pytest.mark.parametrize("client", CLIENTS)
def test_killed_between_any_two_effects(bench: Any, client: str) -> None:
    for point in POINTS:
        bench.send(40)
        killed = bench.worker("--transaction_records", "10", failpoints=f"{point}=kill@2", client=client)
        assert killed.wait(60) == -signal.SIGKILL, "\n".join(killed.lines[-6:])
    bench.worker(client=client).wait_ready()
    bench.wait_all()


def test_a_commit_whose_answer_is_lost_is_asked_for(bench: Any) -> None:
    bench.send(60)
    worker = bench.worker("--transaction_records", "20", failpoints="worker.committed=error@2")
    bench.wait_all()
    worker.wait_event("commit failed", 10, lambda event: event["failure"] == "in doubt")


def test_predictor_away_then_back(bench: Any) -> None:
    worker = bench.worker().wait_ready()
    bench.send(30)
    bench.wait_all()
    port = bench.predictor.port
    bench.predictor.signal(signal.SIGKILL)
    bench.predictor.wait()
    bench.send(60)
    until(lambda: metric(worker, "penstock_worker_retries_total") > 0, 30, "records tried again")
    assert len(bench.outputs()) == 30
    bench.start_predictor(port)
    seen = bench.wait_all()
    assert {record.topic for record in seen} == {bench.predictions}


def test_feature_store_away_then_back(flights_bench: Any) -> None:
    bench, row = flights_bench, {"rows": [{"distance": 100.0, "tailnum": "N1"}]}
    with started(RedisServer) as redis:
        worker = bench.worker("--feature_store", redis.url()).wait_ready()
        bench.send(30, body=row)
        bench.wait_all()
        redis.kill()
        bench.send(60, body=row)
        until(lambda: metric(worker, "penstock_worker_retries_total") > 0, 30, "records tried again")
        assert len(bench.outputs()) == 30
        redis.start()
        seen = bench.wait_all()
        assert {record.topic for record in seen} == {bench.predictions}
        assert worker.stop() == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_two_workers_with_one_transactional_id(bench: Any, client: str) -> None:
    first = bench.worker("--transaction_records", "5", client=client).wait_ready()
    bench.send(100)
    second = bench.worker("--transaction_records", "5", client=client).wait_ready()
    bench.send(100)
    assert first.wait(60) == 1
    bench.wait_all()
    assert second.stop() == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_a_rebalance_in_mid_batch(bench: Any, client: str) -> None:
    """Partitions go to another worker while their records are predicted: what comes late for the first is dropped."""
    first = bench.worker("--transaction_records", "7", instance="a", client=client).wait_ready()
    bench.send(150)
    bench.wait_all()
    slow, quick = bench.predictor, bench.start_predictor()
    with standing_still(slow):
        bench.send(150)
        until(lambda: metric(first, "penstock_worker_predicting_records") == 150, 30, "a batch that is predicted")
        bench.predictor_host = f"127.0.0.1:{quick.port}"
        second = bench.worker("--transaction_records", "7", instance="b", client=client).wait_ready()
        # Whoever reads is not held up by what is predicted for so long: no transaction is open meanwhile.
        until(lambda: len(bench.outputs()) > 150, 30, "predictions of the second worker")
        assert metric(first, "penstock_worker_dropped_total") > 0
        assert metric(first, "penstock_worker_predicting_records") == 150
    bench.send(50)
    bench.wait_all()
    assert first.stop() == 0
    bench.send(50)
    bench.wait_all()
    assert second.stop() == 0


@pytest.mark.parametrize("point", ["worker.begun", "worker.produced", "worker.offsets_sent"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_worker_that_hangs_is_fenced_when_it_goes_on(bench: Any, client: str, point: str) -> None:
    hung = bench.worker("--transaction_records", "10", failpoints=f"{point}=pause@2", client=client)
    bench.send(90)
    until(lambda: stopped(hung), 60, "the first to hang")
    bench.worker(instance="b", client=client).wait_ready()
    bench.wait_all()
    hung.signal(signal.SIGCONT)
    bench.send(60)
    bench.wait_all()


def test_drained_on_sigterm(bench: Any) -> None:
    worker = bench.worker().wait_ready()
    bench.send(500)
    until(bench.outputs, 30, "the first predictions")
    assert worker.stop() == 0
    before = bench.outputs()
    assert worker.wait_event("worker stops", 1)["reason"] == "drained"
    bench.worker().wait_ready()
    seen = bench.wait_all()
    assert len(seen) >= len(before)


def test_broker_restarted_with_requests_in_flight(bench: Any) -> None:
    worker = bench.worker("--transaction_records", "10").wait_ready()
    bench.send(50)
    bench.wait_all()
    with standing_still(bench.predictor):
        bench.send(200)
        until(lambda: metric(worker, "penstock_worker_predicting_records") == 200, 30, "requests in flight")
        bench.kafka.kill()
    bench.kafka.start()
    bench.send(100)
    bench.wait_all(90)
    assert worker.stop() == 0


def test_partition_added_while_running(bench: Any) -> None:
    worker = bench.worker().wait_ready()
    bench.send(30)
    bench.add_partitions(5)
    bench.send(50)
    bench.wait_all()
    assert metric(worker, "penstock_worker_partitions") == 5


def test_what_cannot_be_predicted_is_a_dead_letter_and_blocks_nobody(bench: Any) -> None:
    bench.worker().wait_ready()
    bench.send(10)
    bench.send(1, body=b"no JSON")
    bench.send(1, body={"rows": [{"b": 1}]})
    bench.send(10)
    seen = bench.wait_all()
    letters = [record for record in seen if record.topic == bench.letters]
    assert [letter.header("penstock-reason") for letter in letters] == [b"invalid_input"] * 2
    assert {letter.value for letter in letters} == {b"no JSON", b'{"rows": [{"b": 1}]}'}


def test_poison_records_are_dead_letters_wherever_they_are_and_nobody_else_is(mortal_bench: Any) -> None:
    bench, poison = mortal_bench, (0, 4, 9)
    for place in range(10):
        bench.send(1, body={"rows": [{"a": 666 if place in poison else place}]}, partition=0)
    worker = bench.worker("--predictor_timeout_ms", "5000").wait_ready()
    seen = bench.wait_all()
    letters = [record for record in seen if record.topic == bench.letters]
    assert [record.header("penstock-reason") for record in letters] == [b"crashed"] * 3
    assert [record.header("penstock-attempts") for record in letters] == [b"3"] * 3
    assert [record.header("penstock-position") for record in letters] == [f"{bench.requests}/0/{n}".encode() for n in poison]
    assert metric(worker, "penstock_worker_isolating") == 0


def test_predictions_too_large_for_the_topic_are_dead_letters(bench: Any) -> None:
    # More than a batch of the client's: a topic that takes less than that refuses many small records as one.
    bench.kafka.console(
        "kafka-configs", "--alter", "--entity-type", "topics", "--entity-name", bench.predictions,
        "--add-config", "max.message.bytes=300000",
    )  # fmt: skip
    bench.worker().wait_ready()
    bench.send(5)
    bench.send(1, body={"rows": [{"a": n} for n in range(8000)]})
    bench.send(5)
    seen = bench.wait_all()
    assert [record.header("penstock-reason") for record in seen if record.topic == bench.letters] == [b"too_large"]


def test_at_least_once_loses_nothing(bench: Any) -> None:
    options = ("--delivery", "at-least-once", "--transaction_records", "10")
    for client, point in product(CLIENTS, ("worker.written", "worker.committed")):
        bench.send(30)
        killed = bench.worker(*options, failpoints=f"{point}=kill@2", client=client)
        assert killed.wait(60) == -signal.SIGKILL, "\n".join(killed.lines[-6:])
    worker = bench.worker(*options, client=CLIENTS[1]).wait_ready()
    bench.send(30)
    until(lambda: len({record.header("ce_id") for record in bench.outputs()}) == bench.sent, 60, "an output of each")
    assert worker.stop() == 0


@contextmanager
def standing_still(process: Any) -> Iterator[None]:
    """A process that answers nothing meanwhile, and goes on afterwards."""
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


def metric(worker: Any, name: str) -> float:
    import httpx

    for line in httpx.get(f"{worker.url}/metrics", timeout=20).text.splitlines():
        if line.startswith(name + "{"):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no metric {name}")


def stopped(process: Any) -> bool:
    with open(f"/proc/{process.pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "T"
