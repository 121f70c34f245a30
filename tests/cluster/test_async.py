"""Predictions by id: every part is a ready pod, and what is handed in goes all the way round, from the transformer by database,
relay and Kafka to the worker, and by Kafka, sink and database back to who asks.

Once with manifests/async-kafka.yaml and a broker in clear text, then with the chart and the values files that come with it for
staging and production, and a broker that wants TLS and a log-in. Of these values only that is changed which a small machine has
not: cores to reserve, three brokers, a registry to pull from, the Prometheus operator's resources.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bed import chart as penstock_chart
from bed import flights as example
from bed import kafka, postgres
from bed.authority import Authority
from bed.broker import PARTITIONS, PATIENCE, PREDICTIONS, WORKER
from bed.cluster import Cluster
from bed.example import TOPICS
from bed.flights import MODEL, SECRET, Flights
from bed.manifests import documents
from bed.network import HOST
from bed.predictions import predict_by_id
from bed.serving import serve

from penstock.testing.certificates import Pair
from penstock.testing.committed import ids, records
from penstock.testing.kafka import KafkaServer

DEPLOYMENTS = (WORKER, "penstock-relay", "penstock-sink")
CONFIGMAP = "predictions-kafka"
"""Where the transformers of manifests/inferenceservice.yaml find out where Kafka is."""
# One broker cannot keep three copies.
ONE_COPY = ["--kafka_replication=1", "--kafka_min_insync=1"]
USER, PASSWORD = "penstock", "p@ss/word"
KAFKA_SECRET, KAFKA_MOUNT = "kafka", "/secrets/kafka"
WORKERS = {"staging": 1, "production": 2}
SMALL: dict[str, Any] = {
    "image": {"pullPolicy": "IfNotPresent"},
    "monitoring": {"enabled": False},
    "async": {
        "kafka": {"topics": {"replication": 1, "minInsync": 1}},
        **{part: {"resources": {"requests": {"cpu": "50m"}}} for part in ("worker", "relay", "sink")},
    },
}


def manifests(namespace: str) -> list[dict[str, Any]]:
    """manifests/async-kafka.yaml, for another namespace than the default one."""
    found = documents("async-kafka")
    for document in found:
        if document["kind"] == "Deployment":
            (container,) = document["spec"]["template"]["spec"]["containers"]
            container["args"] = [given.replace("-predictor.default", f"-predictor.{namespace}") for given in container["args"]]
            if container["name"] == "relay":
                container["args"] += ONE_COPY
    return found


@contextmanager
def handed_in(served: Flights, document: dict[str, Any], mark: str) -> Iterator[None]:
    """The transformers are those of a document; then the example's own again, without database and Kafka."""
    try:
        serve(served, document, mark, ["transformer"])
        yield
    finally:
        served.kubectl("delete", f"secret/{postgres.SECRET}", f"configmap/{CONFIGMAP}", "--ignore-not-found")
        serve(served, example.inference_service(), f"no-{mark}", ["transformer"])


def test_the_manifest_takes_a_prediction_round(served: Flights) -> None:
    kafka.install(served.cluster, served.namespace, TOPICS)
    postgres.install(served.cluster, served.namespace)
    served.apply(postgres.secret(served.namespace), *manifests(served.namespace))
    try:
        with handed_in(served, example.inference_service(), "manifest"):
            for name in DEPLOYMENTS:
                served.kubectl("rollout", "status", f"deployment/{name}", "--timeout=180s", timeout_s=200)
            made = predict_by_id(served)
        assert made["state"] == "succeeded", made
        assert made["result"]["predictions"][0]["label"] == "late"
        reading = ("kcat", "-C", "-q", "-e", "-b", f"{kafka.NAME}:{kafka.PORT}", "-X", "isolation.level=read_committed")
        shown = served.kubectl("exec", kafka.NAME, "--", *reading, "-o", "beginning", "-t", PREDICTIONS, "-f", "%h\n")
        assert shown.count(f"ce_id={made['id']}") == 1
    finally:
        served.kubectl("delete", "deployment", *DEPLOYMENTS, "--timeout=120s")


@pytest.fixture(scope="module")
def secured(served: Flights, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Kafka next to the cluster and PostgreSQL in it, with their secrets, and transformers that take predictions for both."""
    if served.cluster.kind != "own":
        pytest.skip("the broker stands on this machine, where only our own cluster's pods reach it: PENSTOCK_CLUSTER=own")
    folder = tmp_path_factory.mktemp("broker")
    Authority(folder).issue("broker", "broker", hosts=[HOST])
    server = KafkaServer(tls=Pair(folder / "broker.crt", folder / "broker.key"), users={USER: PASSWORD}, settings=PATIENCE)
    server.host = HOST
    postgres.install(served.cluster, served.namespace)
    login = {"username": USER, "password": PASSWORD, "ca.crt": (folder / "ca.crt").read_text()}
    secrets = [
        postgres.secret(served.namespace),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": KAFKA_SECRET}, "stringData": login},
    ]
    places = (served.namespace, penstock_chart.NAMESPACE)
    with server as broker:
        try:
            for place in places:
                served.cluster.apply(*secrets, namespace=place)
            settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIGMAP},
                        "data": {"bootstrap": broker.secure_bootstrap}}  # fmt: skip
            served.apply(settings)
            with handed_in(served, logging_in(), "secured"):
                yield broker
        finally:
            for place in places:
                names = (postgres.SECRET, KAFKA_SECRET)
                served.cluster.kubectl("--namespace", place, "delete", "secret", *names, "--ignore-not-found")


def logging_in() -> dict[str, Any]:
    """The example's InferenceService, whose transformers speak to the broker as the chart's pods do."""
    document = example.inference_service()
    transformer = document["spec"]["transformer"]
    (container,) = transformer["containers"]
    settings = {
        "SECURITY": "SASL_SSL",
        "USERNAME": USER,
        "PASSWORD_FILE": f"{KAFKA_MOUNT}/password",
        "CA_FILE": f"{KAFKA_MOUNT}/ca.crt",
    }
    container["env"] += [{"name": f"PENSTOCK_TRANSFORMER_KAFKA_{name}", "value": value} for name, value in settings.items()]
    container["volumeMounts"].append({"name": "kafka", "mountPath": KAFKA_MOUNT, "readOnly": True})
    transformer["volumes"].append({"name": "kafka", "secret": {"secretName": KAFKA_SECRET}})
    return document


def mine(served: Flights, bootstrap: str) -> dict[str, Any]:
    """The values file of one's own that docs/operations.md has."""
    store = {"existingSecret": SECRET}
    return {
        "models": [{"name": MODEL, "namespace": served.namespace, "worker": {"enabled": True}, "featureStore": store}],
        "async": {
            "enabled": True,
            "kafka": {"bootstrap": bootstrap, "existingSecret": KAFKA_SECRET, "caKey": "ca.crt"},
            "database": {"existingSecret": postgres.SECRET},
        },
    }


@pytest.fixture
def as_before(chart: Cluster, tmp_path: Path) -> Iterator[None]:
    """The chart has the values of before again after the test; a roll-back would fail if a namespace of before were gone."""
    values = tmp_path / "before.yaml"
    place = ("--namespace", penstock_chart.NAMESPACE)
    values.write_text(chart.helm("get", "values", penstock_chart.RELEASE, *place, "--output=yaml"))
    yield
    penstock_chart.install(chart, "--values", values)


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("stage", ["staging", "production"])
def test_the_chart_as_it_comes_takes_a_prediction_round(
    served: Flights, secured: KafkaServer, tmp_path: Path, stage: str
) -> None:
    if stage == "production":
        # There they are made by their owner, in staging by the worker.
        for topic in TOPICS:
            made = ("--create", "--if-not-exists", "--topic", topic, "--partitions", str(PARTITIONS))
            secured.console("kafka-topics", *made)
    files = [penstock_chart.CHART / f"values-{stage}.yaml"]
    for name, values in (("mine", mine(served, secured.secure_bootstrap)), ("small", SMALL)):
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump(values))
    penstock_chart.install(served.cluster, *(option for file in files for option in ("--values", file)))
    worker = f"penstock-{MODEL}-worker"
    pods = dict.fromkeys(("penstock-operator", "penstock-relay", "penstock-sink"), 2) | {worker: WORKERS[stage]}
    for name, count in pods.items():
        place = served.namespace if name == worker else penstock_chart.NAMESPACE
        found = ("--namespace", place, "get", "deployment", name, "--output=jsonpath={.status.readyReplicas}")
        assert served.cluster.kubectl(*found) == str(count), name
    prediction = predict_by_id(served)
    assert prediction["state"] == "succeeded", prediction
    assert ids(records(secured.bootstrap, PREDICTIONS))[prediction["id"]] == 1
    assert "Succeeded" in served.cluster.helm("test", penstock_chart.RELEASE, "--namespace", penstock_chart.NAMESPACE)
