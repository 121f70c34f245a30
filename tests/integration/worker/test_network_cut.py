"""The network between a worker and Kafka is cut, with packets held, and mended: what was on its way arrives late, and changes
nothing that others have done meanwhile. Needs root, for a network namespace."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.testing.kafka import KafkaServer
from penstock.testing.private_network import PrivateNetwork
from penstock.testing.shared_servers import started
from penstock.testing.waiting import until
from penstock_transformer.broker.settings import CLIENTS

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def network() -> Iterator[PrivateNetwork]:
    with started(PrivateNetwork) as made:
        yield made


@pytest.fixture(scope="module")
def kafka(network: PrivateNetwork) -> Iterator[KafkaServer]:
    """One that both sides of the cut reach."""

    def make() -> KafkaServer:
        server = KafkaServer()
        server.host = network.host
        return server

    with started(make) as server:
        yield server


@pytest.mark.parametrize("client", CLIENTS)
def test_a_worker_that_is_cut_off_and_comes_back_doubles_nothing(bench: Any, network: PrivateNetwork, client: str) -> None:
    outer = bench.predictor_host
    inner = bench.start_predictor(prefix=network.prefix)
    bench.predictor_host = f"127.0.0.1:{inner.port}"
    options = ("--transaction_records", "5")
    # It is cut off in mid-transaction: its records are written, its offsets and its commit are held up.
    cut_off = bench.worker(*options, client=client, prefix=network.prefix, failpoints="worker.produced=pause@3")
    bench.send(60)
    until(lambda: _stopped(cut_off), 60, "the worker in the midst of its third transaction")
    network.cut()
    try:
        _go_on(cut_off)
        bench.predictor_host = outer
        bench.worker(*options, instance="b", client=client).wait_ready()
        bench.send(60)
        bench.wait_all()
    finally:
        network.mend()
    bench.send(60)
    bench.wait_all()
    # It has either joined again or found that it was replaced; in both cases what comes is answered once.
    until(lambda: not _running(cut_off) or _heard(cut_off), 60, "the worker that was cut off")
    bench.send(30)
    bench.wait_all()


@pytest.mark.parametrize("client", CLIENTS)
def test_short_cuts_lose_nothing(bench: Any, network: PrivateNetwork, client: str) -> None:
    inner = bench.start_predictor(prefix=network.prefix)
    bench.predictor_host = f"127.0.0.1:{inner.port}"
    bench.worker("--transaction_records", "5", client=client, prefix=network.prefix).wait_ready()
    for _ in range(3):
        seen = len(bench.outputs())
        bench.send(60)
        until(lambda seen=seen: len(bench.outputs()) > seen, 60, "the first of these outputs")
        network.cut()
        try:
            bench.send(20)
        finally:
            network.mend()
        bench.wait_all()


def _stopped(process: Any) -> bool:
    with open(f"/proc/{process.pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "T"


def _running(process: Any) -> bool:
    return not process.output_ended


def _go_on(process: Any) -> None:
    process.signal(signal.SIGCONT)


def _heard(process: Any) -> bool:
    """Whether it was told that what it had belongs to others, or that nothing of its own is left."""
    return any(event.get("event") == "partitions" and event.get("change") in ("lost", "revoked") for event in process.events)
