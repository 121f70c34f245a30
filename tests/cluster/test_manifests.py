"""Every file of manifests/ is applied as it stands, but for what a small machine does not have: cores, GPUs, brokers.

inferenceservice.yaml is the fixture `served`, with tests of its own, and collocated.yaml has test_collocated.py; here are the
others.
"""

import pytest
from bed.flights import MODEL, Flights
from bed.manifests import MANIFESTS, documents

COVERED = {"inferenceservice", "collocated", "gpu", "modelversion", "async-kafka"}


def test_each_has_its_test() -> None:
    assert {path.stem for path in MANIFESTS.glob("*.yaml")} == COVERED


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
