"""A real Kafka next to the cluster, which pods reach at the host's end of the cable, and the worker of the manifests.

clients of this machine --> Kafka at 10.199.0.1:PORT <-- worker pods (two of them, one group)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from bed.flights import MODEL, Flights
from bed.network import HOST
from bed.places import ROOT
from bed.trouble import BedError

from penstock.testing.kafka import KafkaServer

REQUESTS, PREDICTIONS, DEAD_LETTERS = (f"{MODEL}.{kind}" for kind in ("requests", "predictions", "dead-letters"))
WORKER = f"{MODEL}-worker"
PARTITIONS = 4
# On a machine that is busy a heartbeat is late, and the broker would be taken for dead.
PATIENCE = {"broker.heartbeat.interval.ms": "2000", "broker.session.timeout.ms": "30000"}


@contextmanager
def kafka_with_worker(flights: Flights, *, cpu: str = "50m") -> Iterator[str]:
    """The broker's address, with its topics and the model's worker ready. Raises BedError."""
    if flights.cluster.kind != "own":
        raise BedError("the broker stands on this machine, where only our own cluster's pods reach it")
    server = KafkaServer(settings=PATIENCE)
    server.host = HOST
    with server as broker:
        for topic in (REQUESTS, PREDICTIONS, DEAD_LETTERS):
            broker.create_topic(topic, PARTITIONS)
        flights.apply(_worker(broker.bootstrap, flights.namespace, cpu))
        try:
            flights.kubectl("rollout", "status", f"deployment/{WORKER}", "--timeout=180s", timeout_s=200)
            yield broker.bootstrap
        finally:
            flights.kubectl("delete", "deployment", WORKER, "--timeout=90s")


def _worker(bootstrap: str, namespace: str, cpu: str) -> dict[str, Any]:
    """The manifest as it stands, but for where things are and how much of a core it reserves."""
    documents = yaml.safe_load_all((ROOT / "manifests" / "async-kafka.yaml").read_text())
    worker: dict[str, Any] = next(one for one in documents if one and one["metadata"]["name"] == WORKER)
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    changed = {"--predictor_host=": f"{MODEL}-predictor.{namespace}", "--kafka_bootstrap=": bootstrap}
    container["args"] = [
        next((option + value for option, value in changed.items() if given.startswith(option)), given)
        for given in container["args"]
    ]
    # One broker cannot keep three copies.
    container["args"] += ["--kafka_replication=1", "--kafka_min_insync=1"]
    container["resources"]["requests"]["cpu"] = cpu
    return worker
