"""Transformers scale by their requests in flight: the chart's autoscaler, Kubernetes' own controller, and KServe, which leaves
replicas alone. What makes work pile up is a feature store that answers late: no CPU tells of it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from bed import chart as penstock_chart
from bed import flights as example
from bed.flights import RECORD, Flights
from bed.metrics_api import custom_metrics
from bed.underway import load
from bed.versions import told

NAME = "scaled"
TRANSFORMER = f"{NAME}-transformer"
SCALER = f"penstock-{TRANSFORMER}"
AUTOSCALING = "templates/models/autoscaling.yaml"
LEAST, MOST = 2, 4
# Shorter than what the store, and the load, have patience for.
PAUSED_MS = 6000
SCALED_S = 180.0


@pytest.fixture
def scaled(flights: Flights) -> Iterator[Flights]:
    """The example once more, under another name and with the chart's autoscaler."""
    if flights.cluster.kind != "own":
        pytest.skip("this machine reaches pods of our own cluster only: PENSTOCK_CLUSTER=own")
    document = example.inference_service()
    document["metadata"]["name"] = NAME
    document["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "external"
    document["spec"]["predictor"]["minReplicas"] = 1
    scaling = {"enabled": True, "minReplicas": LEAST, "maxReplicas": MOST, "inFlight": 1, "scaleDownAfterSeconds": 5}
    model = {"name": NAME, "namespace": flights.namespace, "transformer": {"autoscaling": scaling}}
    scaler = penstock_chart.render(flights.cluster, AUTOSCALING, models=[model])
    with custom_metrics(flights.cluster, flights.namespace):
        flights.apply(document)
        flights.kubectl("apply", "--filename=-", text=scaler)
        try:
            flights.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{NAME}", "--timeout=180s", timeout_s=200)
            yield flights
        finally:
            flights.kubectl("delete", "--filename=-", text=scaler)
            flights.kubectl("delete", "inferenceservice", NAME, "--timeout=60s")


def ready(place: Flights) -> int:
    """How many transformers there are."""
    shown = place.kubectl("get", "deployment", TRANSFORMER, "--output=jsonpath={.status.readyReplicas}")
    return int(shown or 0)


def wait_until(place: Flights, what: Callable[[], bool], meanwhile: Callable[[], object]) -> None:
    deadline = time.monotonic() + SCALED_S
    while not what():
        assert time.monotonic() < deadline, place.kubectl("describe", "horizontalpodautoscaler", SCALER)
        meanwhile()


def pause_the_store(place: Flights) -> None:
    """It answers nobody for a while, and then everybody."""
    place.kubectl("exec", "redis", "--", "redis-cli", "client", "pause", str(PAUSED_MS))
    threading.Event().wait(PAUSED_MS / 1e3)


def test_transformers_follow_their_work_in_flight(scaled: Flights) -> None:
    look = threading.Event()
    wait_until(scaled, lambda: ready(scaled) == LEAST, lambda: look.wait(0.5))
    with load(scaled, f"/predict/{RECORD}", TRANSFORMER) as end:
        wait_until(scaled, lambda: ready(scaled) == MOST, lambda: pause_the_store(scaled))
        result = end()
    print(told(result))
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    # With nothing in flight one goes, and the next a minute later; what came less than a minute ago goes at once.
    wait_until(scaled, lambda: ready(scaled) < MOST, lambda: look.wait(0.5))
    scaler = json.loads(scaled.kubectl("get", "horizontalpodautoscaler", SCALER, "--output=json"))
    assert {one["type"]: one["status"] for one in scaler["status"]["conditions"]}["ScalingActive"] == "True"
