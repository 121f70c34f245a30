"""The chart's log sink as a pod: what transformers of the cluster log goes by Kafka into a claim, with what became of it, and the
sink's Service tells how good the bundle is.

A pod that is replaced meanwhile loses nothing, and nothing is read twice.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from bed import chart, images, kafka
from bed import flights as example
from bed.flights import Flights
from bed.logging_service import LOG, ask_and_tell, folder, known_flights

from penstock.evidence.quality import QualityEntry, read_quality
from penstock.testing.waiting import until
from penstock_transformer.feedback.folder import LogFolder

pytestmark = pytest.mark.timeout(1800)
NAME = "logged"
SINK = "penstock-log-sink"
BROKER = f"{kafka.NAME}:{kafka.PORT}"
ASKED = 200
WAIT_S = 180.0
VALUES: dict[str, Any] = {
    "async": {"kafka": {"bootstrap": BROKER, "topics": {"replication": 1, "minInsync": 1}}},
    "feedback": {
        "sink": {
            "enabled": True,
            "models": [NAME],
            "existingClaim": LOG,
            "qualitySeconds": 1,
            "args": ["--log_part_s=1"],
            "resources": {"requests": {"cpu": "50m"}},
        }
    },
}


@pytest.fixture
def sink(flights: Flights) -> Iterator[None]:
    """The chart's Deployment and Service of it, in the example's place."""
    if flights.cluster.kind != "own":
        pytest.skip("claims are folders of this machine on our own cluster only: PENSTOCK_CLUSTER=own")
    flights.cluster.load(images.build_feast())
    flights.cluster.volume(LOG, flights.namespace)
    kafka.install(flights.cluster, flights.namespace, (f"{NAME}.log", f"{NAME}.outcomes"))
    given = [f"--set-json={name}={json.dumps(value)}" for name, value in VALUES.items()]
    place = ("--kube-version=v1.30.0", "--namespace", flights.namespace, "--show-only=templates/feedback/log-sink.yaml")
    documents = flights.cluster.helm("template", chart.RELEASE, chart.CHART, *place, *given)
    flights.kubectl("apply", "--filename=-", text=documents)
    try:
        flights.kubectl("rollout", "status", f"deployment/{SINK}", "--timeout=180s", timeout_s=200)
        yield
    finally:
        flights.kubectl("delete", "--filename=-", "--timeout=120s", text=documents)


@pytest.fixture
def logged(flights: Flights, sink: None) -> Iterator[str]:
    """The URL of a model whose every prediction is logged to Kafka."""
    document = example.inference_service()
    document["metadata"]["name"] = NAME
    (container,) = document["spec"]["transformer"]["containers"]
    settings = {"PENSTOCK_TRANSFORMER_LOG_RATE": "1", "PENSTOCK_TRANSFORMER_KAFKA_BOOTSTRAP": BROKER}
    others = [variable for variable in container["env"] if variable["name"] not in settings]
    container["env"] = [*others, *({"name": name, "value": value} for name, value in settings.items())]
    flights.apply(document)
    try:
        flights.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{NAME}", "--timeout=180s", timeout_s=200)
        flights.kubectl("rollout", "status", f"deployment/{NAME}-transformer", "--timeout=60s")
        with flights.cluster.reach(flights.namespace, f"{NAME}-transformer", 80) as (host, port):
            yield f"http://{host}:{port}"
    finally:
        flights.kubectl("delete", "inferenceservice", NAME, "--timeout=60s")


def told(flights: Flights) -> list[QualityEntry]:
    """What the sink's Service tells of the model, as the operator asks it."""
    with flights.cluster.reach(flights.namespace, SINK, 9090) as (host, port):
        answer = httpx.get(f"http://{host}:{port}/quality", params={"model": NAME}, timeout=30)
    return [entry for log in read_quality(answer.content).logs for entry in log.entries]


def test_what_is_logged_in_the_cluster_comes_into_the_claim(flights: Flights, logged: str) -> None:
    asked = known_flights(ASKED)
    log = LogFolder(folder(flights, LOG), NAME)
    assert asyncio.run(ask_and_tell(logged, asked[: ASKED // 2])) == ASKED // 2
    until(lambda: any(log.rows()), WAIT_S, "a row in the log")
    flights.kubectl("delete", "pods", f"--selector=penstock.dev/component={SINK.removeprefix('penstock-')}", "--timeout=120s")
    assert asyncio.run(ask_and_tell(logged, asked[ASKED // 2 :])) == ASKED // 2
    until(lambda: len(list(log.rows())) >= ASKED and len(log.outcomes()) >= ASKED, WAIT_S, "every row and its outcome")
    assert (len(list(log.rows())), len(log.outcomes())) == (ASKED, ASKED)
    flights.kubectl("rollout", "status", f"deployment/{SINK}", "--timeout=180s", timeout_s=200)
    (entry,) = until(lambda: [entry for entry in told(flights) if entry.sums.rows == ASKED], WAIT_S, "what became of all of them")
    assert entry.bundle == example.digest(flights.bundle)
    assert 0 < entry.sums.right < entry.sums.labelled == ASKED
