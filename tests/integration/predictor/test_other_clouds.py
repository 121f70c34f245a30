"""Models out of Google's and Azure's object stores: found, fetched in parts of one content, followed, refused in words.

Google's is spoken to in its XML form, which moto's S3 answers (its buckets are those of every server of moto in a
process); Azure's is `penstock.testing.azure_blobs`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from penstock.errors import Conflict, InvalidInput, NotFound
from penstock.testing import models
from penstock.testing.azure_blobs import AzureBlobs
from penstock.testing.bundles import write_bundle
from penstock_predictor.store import remote
from penstock_predictor.store.object_source import ObjectSource

Open = Callable[[str, Path], ObjectSource]


@dataclass
class Cloud:
    """A store whose container `others` a test fills; `address` is the container's."""

    address: str
    put: Callable[[str, bytes], None]

    def upload(self, directory: Path, prefix: str) -> None:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(directory)}", path.read_bytes())


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with AzureBlobs("others", {}) as blobs:
        for name, value in blobs.environment.items():
            monkeypatch.setenv(name, value)
        yield Cloud("az://others", blobs.blobs.__setitem__)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    given = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **given)
    client.create_bucket(Bucket="others")
    account = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
    monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
    yield Cloud("gs://others", lambda name, data: client.put_object(Bucket="others", Key=name, Body=data, ACL="public-read"))
    client.close()
    server.stop()


@pytest.fixture(params=["azure", "google"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    found: Cloud = request.getfixturevalue(request.param)
    return found


def test_a_repository_is_found_fetched_and_followed(
    cloud: Cloud, tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_RANGE_BYTES", 1000)  # so that files come in several parts of one content
    digest = write_bundle(tmp_path / "made" / "bundled", models.mlp((3, 40, 1)), None)
    (tmp_path / "made" / "plain").mkdir()
    plain = models.mlp((3, 40, 1), seed=1)
    (tmp_path / "made" / "plain" / "model.onnx").write_bytes(plain)
    cloud.upload(tmp_path / "made", "repository")
    source = opened(f"{cloud.address}/repository", tmp_path / "cache")
    bundled, first = source.places()
    assert (bundled.model, bundled.is_bundle, bundled.directory.name) == ("bundled", True, digest.removeprefix("sha256:"))
    assert (first.model, (first.directory / "model.onnx").read_bytes()) == ("plain", plain)
    assert source.places() == [bundled, first]
    other = models.mlp((3, 40, 1), seed=2)
    cloud.put("repository/plain/model.onnx", other)
    (second,) = source.places("plain")
    assert (second.directory / "model.onnx").read_bytes() == other
    assert second.directory != first.directory


def test_a_plain_model_that_is_replaced_between_its_parts_is_told(cloud: Cloud) -> None:
    cloud.put("m/model.onnx", b"a" * 100)
    store = remote.RemoteStore(f"{cloud.address}/m")
    file = store.list()["model.onnx"]
    assert b"".join(store.ranges("model.onnx", 10, 20, file.etag)) == b"a" * 10
    cloud.put("m/model.onnx", b"b" * 100)
    with pytest.raises(Conflict, match="was replaced while it was fetched"):
        b"".join(store.ranges("model.onnx", 20, 30, file.etag))


def test_what_is_not_there_is_said(cloud: Cloud, tmp_path: Path, opened: Open) -> None:
    with pytest.raises(NotFound, match=r"others/nothing holds neither bundle\.yaml nor"):
        opened(f"{cloud.address}/nothing", tmp_path / "cache").places()
    nowhere = cloud.address.replace("others", "nowhere")
    with pytest.raises(NotFound, match=f"{nowhere}/x is not there"):
        opened(f"{nowhere}/x", tmp_path / "cache").places()


def test_a_key_that_is_refused_is_the_settings_fault_and_not_shown(azure: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    store = remote.RemoteStore(f"{azure.address}/x")
    for ask in (store.list, lambda: store.read("model.onnx", 10)):
        with pytest.raises(InvalidInput, match="may not be read with the credentials of the environment") as refused:
            ask()
        assert "c2VjcmV0" not in str(refused.value)
