"""Each image as a cluster runs it: another user, a read-only root, no capabilities, SIGTERM at the end. How soon it is ready is
printed."""

import http.client
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest
import yaml

from penstock.dataplane import TensorMetadata
from penstock.testing.bundles import write_bundle
from penstock.testing.committed import records
from penstock.testing.flights import write_flights
from penstock.testing.kafka import KafkaServer
from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.models import mlp
from penstock.testing.servers import free_port
from penstock.testing.waiting import until

PORTS = ("--host", "127.0.0.1", "--http_port", "0", "--grpc_port", "0", "--admin_port", "-1")
PREDICTOR = ("--model_name", "m", "--model_dir", "/mnt/models", *PORTS)
INFER = "/v2/models/m/infer"
TENSOR = {"name": "x", "datatype": "FP32", "shape": [2, 32], "data": [0.5] * 64}
FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject, encode: passthrough}
tensors: {x: [a]}
"""
KAFKA = ("--kafka_create_topics", "true", "--kafka_partitions", "1", "--kafka_replication", "1", "--kafka_min_insync", "1")

Start = Callable[..., Any]
# The first test of an image builds it.
pytestmark = pytest.mark.timeout(900)


def test_predictor_and_transformer_serve_together(images: Any, start: Start, models: Path) -> None:
    predictor = start(images["predictor"], PREDICTOR, models).wait_ready()
    answer, bundle = predictor.ask(INFER, {"inputs": [TENSOR]})
    assert answer["outputs"][0]["shape"][0] == 2
    assert bundle is not None
    assert bundle.startswith("m@sha256:")

    behind = ("--model_name", "m", "--predictor_host", f"127.0.0.1:{predictor.port}", *PORTS)
    transformer = start(images["transformer"], behind, models).wait_ready()
    through, same = transformer.ask(INFER, {"inputs": [TENSOR]})
    assert through["outputs"] == answer["outputs"]
    assert same == bundle
    transformer.stop()
    predictor.stop()


def test_gpu_predictor_serves_without_a_gpu_if_told_so(images: Any, start: Start, models: Path) -> None:
    """CUDA's libraries come with another base than this one: ONNX Runtime must not need them before it is asked for a GPU."""
    predictor = start(images["predictor-gpu"], (*PREDICTOR, "--device", "cpu"), models).wait_ready()
    answer, _ = predictor.ask(INFER, {"inputs": [TENSOR]})
    assert answer["outputs"][0]["shape"][0] == 2
    predictor.stop()


def test_transformer_with_feast_reads_a_feast_repository(images: Any, start: Start, folder: Path) -> None:
    """One that the image's own Feast has made and filled, and that pods only read."""
    write_flights(folder / "bundle")
    repository = folder / "repository"
    repository.mkdir()
    repository.chmod(0o777)
    shutil.copy(Path(__file__).parent / "feast_repository.py", folder)
    made = ["/mnt/models/feast_repository.py", "/mnt/models/repository"]
    start(images["transformer-feast"], made, folder, python=True, writable=True).end()

    served = ("--model_name", "flights", "--model_dir", "/mnt/models/bundle", *PORTS)
    predictor = start(images["predictor"], served, folder).wait_ready()
    store = ("--feature_store", "feast:/mnt/models/repository/feature_store.yaml")
    behind = ("--model_name", "flights", "--predictor_host", f"127.0.0.1:{predictor.port}", *store, *PORTS)
    transformer = start(images["transformer-feast"], behind, folder).wait_ready()
    answer, _ = transformer.ask("/models/flights/predict", {"rows": [{"flight_id": "UA 1"}]})
    (prediction,) = answer["predictions"]
    data = prediction["data"]
    assert (data["distance"], data["carrier"], data["seats"]) == (500.5, "UA", 180)
    assert prediction["defaulted"] == ["stops"]
    transformer.stop()
    predictor.stop()


def test_worker_predicts_what_kafka_brings(images: Any, start: Start, folder: Path, kafka: KafkaServer) -> None:
    tensors = {"inputs": (TensorMetadata("x", "FP32", (-1, 1)),), "outputs": (TensorMetadata("y", "FP32", (-1, 1)),)}
    write_bundle(folder / "bundle", mlp((1, 4, 1)), FEATURES, **tensors)
    model = "in-a-container"
    predictor = start(
        images["predictor"], ("--model_name", model, "--model_dir", "/mnt/models/bundle", *PORTS), folder
    ).wait_ready()
    behind = ("--model_name", model, "--predictor_host", f"127.0.0.1:{predictor.port}", "--kafka_bootstrap", kafka.bootstrap)
    worker = start(images["transformer"], ("worker", *behind, *KAFKA, *PORTS), folder).wait_ready()
    producer = ck.Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(f"{model}.requests", json.dumps({"rows": [{"a": 1.5}]}).encode())
    assert producer.flush(30) == 0
    (prediction,) = until(lambda: records(kafka.bootstrap, f"{model}.predictions"), 60, "a prediction")
    assert b'"predictions"' in prediction.value
    worker.stop()
    predictor.stop()


def test_operator_fills_its_caches_and_lets_go_of_its_lease(
    images: Any, start: Start, folder: Path, kubernetes: KubernetesServer
) -> None:
    namespace = kubernetes.namespace("in-a-container")
    document = kubernetes.kubeconfig(namespace)
    shutil.copyfile(kubernetes.ca, folder / "ca.pem")
    document["clusters"][0]["cluster"]["certificate-authority"] = "ca.pem"
    (folder / "kubeconfig").write_text(yaml.safe_dump(document))
    port = free_port()
    given = ("--kubeconfig", "/mnt/models/kubeconfig", "--namespaces", namespace, "--lease_namespace", namespace)
    operator = start(images["operator"], (*given, "--http_port", str(port), "--admin_port", str(port)), folder)
    operator.wait(lambda: is_ready(port))
    until(lambda: holder_of_lease(kubernetes, namespace), 30, "the lease is held")
    operator.stop()
    assert not holder_of_lease(kubernetes, namespace)


def holder_of_lease(kubernetes: KubernetesServer, namespace: str) -> str:
    leases = kubernetes.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")["items"]
    return "".join(lease["spec"].get("holderIdentity") or "" for lease in leases)


def is_ready(port: int) -> bool:
    """What a readiness probe finds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
