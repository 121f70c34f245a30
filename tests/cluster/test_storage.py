"""A bundle from every place that KServe fetches from, into a predictor of our runtime: `https://` as a packed bundle, `s3://` as
a folder, `oci://` as an image; `pvc://` is what the flights example itself uses. A ModelVersion is also verified from there, an
image by its digest.

A place that takes its readers' credentials no more is the end of a version that was not verified yet, and of no pod that serves.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from bed import engine, images, objects, own
from bed import flights as example
from bed.disturbing import delete_one
from bed.flights import RECORD, Flights
from bed.underway import load
from bed.versions import check_load, manifest, penstock_rollout, told, wait_for, wait_live

from penstock.testing.models import mlp
from penstock.testing.waiting import until

# The first time it builds an S3 server of Go's modules, which takes a busy machine longer than a test may.
pytestmark = pytest.mark.timeout(2700)
BUCKET = "bundles"
IMAGE = "localhost/penstock-bed/flights-bundle"
# What KServe's storage initializer says of a server that does not take its key.
REFUSED = "An error occurred (403)"
FETCHED_S = 180.0
# Five tries with 150 s between them.
TRIED_S = 600


@pytest.fixture(scope="module")
def packed(flights: Flights, next_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Both bundles as tar files in the claim, and where a pod serves the claim over HTTPS."""
    folder = tmp_path_factory.mktemp("packed")
    for name, bundle in (("flights", flights.bundle), ("flights-8", next_bundle)):
        file = folder / f"{name}.tar"
        subprocess.run([Path(sys.executable).parent / "penstock", "bundle", "pack", bundle, "--output", file], check=True)
        flights.kubectl("cp", file, f"filler:/mnt/models/{name}.tar")
    authority = tmp_path_factory.mktemp("authority")
    flights.apply(*objects.file_server(flights.namespace, authority))
    flights.kubectl("wait", "--for=condition=Ready", "pod/files", "--timeout=60s")
    with objects.trusted(flights.cluster, authority):
        yield f"https://files.{flights.namespace}:{objects.FILES_PORT}"


@pytest.fixture(scope="module")
def bucket(flights: Flights, next_bundle: Path) -> Flights:
    """Both bundles' files in a bucket of an S3-compatible server, and a service account that may read it."""
    flights.cluster.load(images.build(images.S3))
    flights.apply(*objects.s3_server(flights.namespace))
    flights.kubectl("wait", "--for=condition=Ready", "pod/s3", "--timeout=60s")
    with flights.cluster.reach(flights.namespace, "s3", 7070) as (host, port):
        client = boto3.client(
            "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
            aws_access_key_id=objects.ACCESS, aws_secret_access_key=objects.SECRET,
        )  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        for place, bundle in (("flights", flights.bundle), ("flights-8", next_bundle)):
            for file in bundle.iterdir():
                client.upload_file(str(file), BUCKET, f"{place}/{file.name}")
        client.close()
    return flights


def make_image(flights: Flights, bundle: Path, tag: str, folder: Path) -> str:
    """The bundle as a modelcar: an image with a shell that holds it under /models."""
    (folder / "Dockerfile").write_text(f"FROM {engine.base()}\nCOPY models /models\n")
    (folder / "models").mkdir()
    for file in bundle.iterdir():
        (folder / "models" / file.name).write_bytes(file.read_bytes())
    engine.build(tag, folder)
    flights.cluster.load(tag)
    return tag


@pytest.fixture(params=["https", "s3", "oci"])
def place(request: pytest.FixtureRequest, flights: Flights, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The kind of place, and what a predictor says to be served from there."""
    if request.param == "https":
        found: dict[str, Any] = {"storageUri": f"{request.getfixturevalue('packed')}/flights.tar"}
    elif request.param == "s3":
        request.getfixturevalue("bucket")
        found = {"storageUri": f"s3://{BUCKET}/flights"}
    else:
        found = {"storageUri": f"oci://{make_image(flights, flights.bundle, f'{IMAGE}:7', tmp_path)}"}
    yield request.param, found
    flights.kubectl("delete", "inferenceservice", f"from-{request.param}", "--ignore-not-found", "--timeout=60s")


def test_a_bundle_comes_from_its_place(flights: Flights, place: tuple[str, dict[str, Any]]) -> None:
    kind, model = place
    service = example.inference_service()
    service["metadata"]["name"] = f"from-{kind}"
    del service["spec"]["transformer"]
    predictor = service["spec"]["predictor"]
    predictor["minReplicas"] = 1
    predictor["model"] = {**predictor["model"], **model}
    if kind == "s3":
        predictor["serviceAccountName"] = objects.ACCOUNT
    flights.apply(service)
    flights.kubectl("wait", "--for=condition=Ready", f"inferenceservice/from-{kind}", "--timeout=120s")
    with flights.cluster.reach(flights.namespace, f"from-{kind}-predictor", 80) as (host, port):
        answer = httpx.get(f"http://{host}:{port}/v2/models/from-{kind}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Penstock-Bundle"].endswith(example.digest(flights.bundle))


def from_bucket(name: str, bundle: Path, **more: Any) -> dict[str, Any]:
    """A ModelVersion of the next bundle as the bucket has it, fetched with the account's credentials."""
    document = manifest(name, bundle, uri=f"s3://{BUCKET}/flights-8", **more)
    document["spec"]["runtime"]["serviceAccountName"] = objects.ACCOUNT
    return document


@pytest.mark.parametrize("kind", ["https", "s3", "oci"])
def test_a_model_version_comes_from_its_place(
    served: Flights, next_bundle: Path, version: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Its job fetches it as its pods do, with the account's credentials; then transformers take it into their route."""
    if kind == "https":
        uri = f"{request.getfixturevalue('packed')}/flights-8.tar"
        document = manifest(version, next_bundle, uri=uri, strategy="manual")
    elif kind == "s3":
        request.getfixturevalue("bucket")
        document = from_bucket(version, next_bundle, strategy="manual")
    else:
        image = make_image(served, next_bundle, f"{IMAGE}:8", tmp_path)
        uri = f"oci://{own.pin(image) if served.cluster.kind == 'own' else image}"
        document = manifest(version, next_bundle, uri=uri, strategy="manual")
    served.apply(document)
    wait_for(served, version, "reason", "AwaitingPromotion")
    served.kubectl("wait", "--for=condition=Ready", f"modelversion/{version}", "--timeout=60s")


@pytest.fixture
def again(flights: Flights, version: str) -> Iterator[str]:
    """The name of another ModelVersion, which is gone after the test as the first one is."""
    name = f"{version}-again"
    yield name
    flights.kubectl("delete", "modelversion", name, "--ignore-not-found", "--timeout=120s")


def said_by_place(flights: Flights, selector: str) -> str:
    """What fetches bundles for the pods of a selector said when it ended, as `kubectl describe pod` shows it."""
    ended = ("state", "lastState")
    paths = "".join(f"{{.items[*].status.initContainerStatuses[*].{state}.terminated.message}}" for state in ended)
    return flights.kubectl("get", "pods", f"--selector={selector}", f"--output=jsonpath={paths}")


def field(flights: Flights, version: str, *paths: str) -> str:
    """Of a ModelVersion's status, a space between two."""
    wanted = " ".join(f"{{.status.{path}}}" for path in paths)
    return flights.kubectl("get", "modelversion", version, f"--output=jsonpath={wanted}")


def test_with_credentials_that_have_ended_a_version_gets_no_request(
    served: Flights, bucket: Flights, next_bundle: Path, version: str, again: str
) -> None:
    """Its job is run five times, after longer and longer; then it has failed for good, and says why. With credentials that count
    the same bundle goes Live as another version."""
    with load(served, f"/predict/{RECORD}") as end:
        with objects.credentials_ended(bucket):
            served.apply(from_bucket(version, next_bundle, strategy="immediate"))
            wait_for(served, version, "phase", "Failed", TRIED_S)
        result = end()
    message = field(served, version, "message")
    print(message)
    assert field(served, version, "weight", "reason") == "0 VerificationBroken"
    assert field(served, version, "conditions[?(@.type=='Verified')].status") == "False"
    assert "5 times without a verdict" in message
    assert REFUSED in message
    assert not served.cluster.succeeds("--namespace", served.namespace, "get", "inferenceservice", version)
    print(told(result))
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    assert {label.rpartition("@")[2] for label in result["bundles"]} == {example.digest(served.bundle)}
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(from_bucket(again, next_bundle, strategy="immediate"))
        wait_live(served, again)
        assert field(served, version, "phase", "reason") == "Failed VerificationBroken"
        penstock_rollout(served, "rollback", again)
        wait_for(served, again, "phase", "RolledBack")
        result = end()
    check_load(served, next_bundle, result)


def test_credentials_that_end_while_a_version_is_live(served: Flights, bucket: Flights, next_bundle: Path, version: str) -> None:
    """A pod that starts anew cannot fetch the bundle: the other one answers, and `Ready` says what the place said. With
    credentials that count the pod comes up by itself."""
    pods = f"serving.kserve.io/inferenceservice={version},component=predictor"
    ready = "conditions[?(@.type=='Ready')]"
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(from_bucket(version, next_bundle, replicas=2, strategy="immediate"))
        wait_live(served, version)
        with objects.credentials_ended(bucket):
            delete_one(served, pods)
            until(lambda: REFUSED in said_by_place(served, pods), FETCHED_S, "a pod that may not fetch the bundle")
            until(
                lambda: REFUSED in field(served, version, f"{ready}.message"),
                FETCHED_S,
                lambda: field(served, version, "reason", "message", f"{ready}.reason", f"{ready}.message"),
            )
            print(field(served, version, "message"))
            assert field(served, version, "phase", "weight", f"{ready}.reason") == "Live 100 PredictorNotReady"
        # The kubelet starts it again by itself, after longer and longer.
        served.kubectl("wait", "--for=condition=Ready", f"modelversion/{version}", f"--timeout={FETCHED_S:g}s")
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        result = end()
    check_load(served, next_bundle, result)


def test_a_plain_model_is_served(flights: Flights, tmp_path: Path) -> None:
    """`modelFormat: onnx`: a folder with nothing but a model.onnx."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "model.onnx").write_bytes(mlp())
    flights.put_bundle(tmp_path / "plain", "plain")
    service = example.inference_service()
    service["metadata"]["name"] = "plain"
    del service["spec"]["transformer"]
    predictor = service["spec"]["predictor"]
    predictor["minReplicas"] = 1
    format_and_place = {"modelFormat": {"name": "onnx"}, "storageUri": f"pvc://{example.CLAIM}/plain"}
    predictor["model"] = {**predictor["model"], **format_and_place}
    flights.apply(service)
    try:
        flights.kubectl("wait", "--for=condition=Ready", "inferenceservice/plain", "--timeout=120s")
        tensor = {"name": "x", "datatype": "FP32", "shape": [2, 32], "data": [0.5] * 64}
        with flights.cluster.reach(flights.namespace, "plain-predictor", 80) as (host, port):
            answer = httpx.post(f"http://{host}:{port}/v2/models/plain/infer", json={"inputs": [tensor]}, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"][0]["shape"][0] == 2
        assert answer.headers["Penstock-Bundle"].startswith("plain@sha256:")
    finally:
        flights.kubectl("delete", "inferenceservice", "plain", "--timeout=60s")
