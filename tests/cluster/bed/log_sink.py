"""The chart's log sink in the example's place: transformers of a model log to Kafka, the sink's pod writes what comes into a
claim, and the operator asks it.

    with running(flights, NAME), serving(flights, NAME) as url, asked(flights): …
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from bed import chart, images, kafka
from bed import flights as example
from bed.flights import Flights
from bed.logging_service import LOG

from penstock.evidence.quality import QualityEntry, read_quality

SINK = "penstock-log-sink"
_BROKER = f"{kafka.NAME}:{kafka.PORT}"
_OPERATOR = ("--namespace", chart.NAMESPACE)
_DEPLOYMENT = "deployment/penstock-operator"
_ASKED = "PENSTOCK_OPERATOR_LOG_SINKS"


@contextmanager
def running(flights: Flights, name: str) -> Iterator[None]:
    """The chart's Deployment and Service of it, for one model. Raises BedError."""
    flights.cluster.load(images.build_feast())
    flights.cluster.volume(LOG, flights.namespace)
    kafka.install(flights.cluster, flights.namespace, (f"{name}.log", f"{name}.outcomes"))
    with chart.running(flights.cluster, flights.namespace, "templates/feedback/log-sink.yaml", SINK, **_values(name)):
        yield


def _values(name: str) -> dict[str, Any]:
    sink = {
        "enabled": True,
        "models": [name],
        "existingClaim": LOG,
        "qualitySeconds": 1,
        "args": ["--log_part_s=1"],
        "resources": {"requests": {"cpu": "50m"}},
    }
    topics = {"replication": 1, "minInsync": 1}
    return {"async": {"kafka": {"bootstrap": _BROKER, "topics": topics}}, "feedback": {"sink": sink}}


@contextmanager
def serving(flights: Flights, name: str) -> Iterator[str]:
    """The URL of a model whose every prediction is logged to Kafka. Raises BedError."""
    document = example.inference_service()
    document["metadata"]["name"] = name
    (container,) = document["spec"]["transformer"]["containers"]
    settings = {"PENSTOCK_TRANSFORMER_LOG_RATE": "1", "PENSTOCK_TRANSFORMER_KAFKA_BOOTSTRAP": _BROKER}
    others = [variable for variable in container["env"] if variable["name"] not in settings]
    container["env"] = [*others, *({"name": key, "value": value} for key, value in settings.items())]
    flights.apply(document)
    try:
        flights.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{name}", "--timeout=180s", timeout_s=200)
        flights.kubectl("rollout", "status", f"deployment/{name}-transformer", "--timeout=60s")
        with flights.cluster.reach(flights.namespace, f"{name}-transformer", 80) as (host, port):
            yield f"http://{host}:{port}"
    finally:
        flights.kubectl("delete", "inferenceservice", name, "--timeout=60s")


@contextmanager
def asked(flights: Flights) -> Iterator[None]:
    """While it lasts the operator asks the sink, as where the chart has `feedback.sink.enabled`. Raises BedError."""
    _ask(flights, f"{_ASKED}=http://{SINK}.{flights.namespace}:9090")
    try:
        yield
    finally:
        _ask(flights, f"{_ASKED}-")


def _ask(flights: Flights, variable: str) -> None:
    flights.cluster.kubectl(*_OPERATOR, "set", "env", _DEPLOYMENT, variable)
    flights.cluster.kubectl(*_OPERATOR, "rollout", "status", _DEPLOYMENT, "--timeout=120s")


def told(flights: Flights, name: str) -> list[QualityEntry]:
    """What the sink's Service tells of a model, as the operator asks it."""
    with flights.cluster.reach(flights.namespace, SINK, 9090) as (host, port):
        answer = httpx.get(f"http://{host}:{port}/quality", params={"model": name}, timeout=30)
    return [entry for log in read_quality(answer.content).logs for entry in log.entries]
