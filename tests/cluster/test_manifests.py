"""Every file of manifests/ is applied as it stands, but for what a small machine does not have: cores, GPUs, brokers.

manifests/inferenceservice.yaml is the fixture `served`, with tests of its own; here are the others.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from bed import flights as example
from bed.flights import MODEL, RECORD, Flights
from bed.places import ROOT

MANIFESTS = ROOT / "manifests"
COVERED = {"inferenceservice", "collocated", "gpu", "modelversion", "async-kafka"}


def documents(name: str) -> list[dict[str, Any]]:
    """A manifest's documents, with requests that several pods on a small node leave room for."""
    found = [document for document in yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()) if document]
    for document in found:
        _shrink(document)
    return found


def _shrink(node: Any) -> None:
    if isinstance(node, dict):
        requests = node.get("requests")
        if isinstance(requests, dict) and "cpu" in requests:
            requests["cpu"] = "50m"
        for value in node.values():
            _shrink(value)
    elif isinstance(node, list):
        for value in node:
            _shrink(value)


def test_each_has_its_test() -> None:
    assert {path.stem for path in MANIFESTS.glob("*.yaml")} == COVERED


@pytest.fixture
def collocated(flights: Flights) -> Iterator[Flights]:
    """Transformer and predictor in one pod, ready; under a name of its own beside the others."""
    (manifest,) = documents("collocated")
    manifest["metadata"]["name"] = "together"
    transformer = manifest["spec"]["predictor"]["containers"][0]
    transformer["args"] = [argument.replace("flights", "together") for argument in transformer["args"]]
    manifest["spec"]["predictor"]["model"]["resources"] = {
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"memory": "1Gi"},
    }
    flights.apply(manifest)
    flights.kubectl("wait", "--for=condition=Ready", "inferenceservice/together", "--timeout=180s", timeout_s=200)
    flights.kubectl("rollout", "status", "deployment/together-predictor", "--timeout=60s")
    yield flights
    flights.kubectl("delete", "inferenceservice", "together", "--timeout=60s")


def test_collocated_answers_with_stored_features(collocated: Flights) -> None:
    with (
        collocated.cluster.reach(collocated.namespace, "together-predictor", 80) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}", timeout=30) as client,
    ):
        answer = client.get(f"/predict/{RECORD}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["Penstock-Bundle"].endswith(example.digest(collocated.bundle))


def test_collocated_pods_have_their_label(collocated: Flights) -> None:
    """The predictor's own labels go before the runtime's: the network rules go by that."""
    selector = "--selector=serving.kserve.io/inferenceservice=together"
    shown = collocated.kubectl("get", "pods", selector, r"--output=jsonpath={.items[*].metadata.labels.penstock\.dev/component}")
    assert set(shown.split()) == {"collocated"}


def test_gpu_is_understood_by_kserve(flights: Flights) -> None:
    """Without GPUs no pod is scheduled; that KServe's webhook takes it, with our runtime, can be seen."""
    (manifest,) = documents("gpu")
    flights.apply(manifest)
    try:
        shown = flights.kubectl("get", "inferenceservice", "digits", "--output=jsonpath={.spec.predictor.model.runtime}")
        assert shown == "penstock-predictor-gpu"
    finally:
        flights.kubectl("delete", "inferenceservice", "digits", "--timeout=60s")


def test_a_model_version_is_served_and_its_digest_stays(served: Flights) -> None:
    (manifest,) = documents("modelversion")
    served.apply(manifest)
    try:
        assert "flights-8" in served.kubectl("get", "mv")
        manifest["spec"]["bundle"]["digest"] = f"sha256:{'1' * 64}"
        with pytest.raises(Exception, match="cannot be changed"):
            served.apply(manifest)
    finally:
        served.kubectl("delete", "modelversion", "flights-8", "--wait=false")


def test_async_pods_start(flights: Flights) -> None:
    """There is no broker here (tests/integration has one): the pods run, look for it and say why they are not ready."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "predictions-database"},
              "stringData": {"url": "postgresql://penstock:penstock@postgres/penstock"}}  # fmt: skip
    flights.apply(secret, *documents("async-kafka"))
    try:
        for name in (f"{MODEL}-worker", "penstock-relay", "penstock-sink"):
            path = "--for=jsonpath={.status.replicas}=2"
            flights.kubectl("wait", path, f"deployment/{name}", "--timeout=60s")
            flights.kubectl("wait", "--for=jsonpath={.status.updatedReplicas}=2", f"deployment/{name}", "--timeout=60s")
        selector = "--selector=penstock.dev/component in (worker, relay, sink)"
        flights.kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pods", selector, "--timeout=120s")
        shown = flights.kubectl("get", "pods", selector, "--output=jsonpath={..reason}")
        assert "CreateContainer" not in shown
    finally:
        for name in (f"{MODEL}-worker", "penstock-relay", "penstock-sink"):
            flights.kubectl("delete", "deployment", name, "--timeout=60s")
