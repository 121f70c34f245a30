"""Models out of S3, against a server of moto's: bundles, repositories, what is missing, and a program that follows the store."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from penstock.errors import InvalidInput, NotFound
from penstock.testing import models
from penstock.testing.bundles import write_bundle
from penstock.testing.server import ServerProcess
from penstock_predictor.loading import load_model
from penstock_predictor.settings import ModelSettings
from penstock_predictor.source import open_source
from penstock_predictor.store.object_source import ObjectSource

QUICK = ModelSettings(max_rows=2, profile_s=0.0)

# What the fixtures of these names give.
Open = Callable[[str, Path], ObjectSource]


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    before = dict(os.environ)
    os.environ.update(variables)
    client = boto3.client("s3", endpoint_url=variables["AWS_ENDPOINT_URL"])
    client.create_bucket(Bucket="models")
    yield client
    client.close()
    os.environ.clear()
    os.environ.update(before)
    server.stop()


def upload(s3: Any, directory: Path, prefix: str) -> None:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            s3.put_object(Bucket="models", Key=f"{prefix}/{path.relative_to(directory)}", Body=path.read_bytes())


def test_a_bundle_from_s3_serves_by_its_digest_and_is_fetched_once(s3: Any, tmp_path: Path, opened: Open) -> None:
    digest = write_bundle(tmp_path / "b", models.mlp((3, 4, 1)), None)
    upload(s3, tmp_path / "b", "one")
    source = opened("s3://models/one", tmp_path / "cache")
    (place,) = source.places()
    assert (place.model, place.version, place.is_bundle) == ("m", None, True)
    assert place.directory == tmp_path / "cache" / digest.removeprefix("sha256:")
    marks = [path.stat().st_mtime_ns for path in sorted(place.directory.iterdir())]
    # Another process on the same cache finds it whole and fetches nothing but the manifest.
    (again,) = opened("s3://models/one", tmp_path / "cache").places()
    assert again == place
    assert [path.stat().st_mtime_ns for path in sorted(again.directory.iterdir())] == marks


def test_a_repository_in_s3_is_laid_out_like_a_directory(s3: Any, tmp_path: Path, opened: Open) -> None:
    for place in ("a/1", "a/2", "b"):
        (tmp_path / "repo" / place).mkdir(parents=True)
        (tmp_path / "repo" / place / "model.onnx").write_bytes(models.mlp((3, 4, 1), seed=len(place)))
    (tmp_path / "repo" / "c").mkdir()
    models.save_external(tmp_path / "repo" / "c")
    upload(s3, tmp_path / "repo", "repository")
    source = opened("s3://models/repository", tmp_path / "cache")
    assert source.names() == [("a", "1"), ("a", "2"), ("b", None), ("c", None)]
    places = source.places()
    assert len({place.directory for place in places}) == 4
    assert load_model(places[3], QUICK).session.inputs
    before = source.places("b")
    s3.put_object(Bucket="models", Key="repository/b/model.onnx", Body=models.mlp((3, 4, 1), seed=77))
    assert source.places("b") != before
    assert source.places("a") == places[:2]


def test_what_a_store_lacks_or_forbids_is_said(s3: Any, tmp_path: Path, opened: Open) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(NotFound, match=r"s3://models/nothing holds neither bundle\.yaml nor"):
        opened("s3://models/nothing", cache).places()
    with pytest.raises(NotFound, match="s3://nobucket/x is not there"):
        opened("s3://nobucket/x", cache).places()
    write_bundle(tmp_path / "b", models.mlp((3, 4, 1)), None)
    upload(s3, tmp_path / "b", "broken")
    s3.delete_object(Bucket="models", Key="broken/model.onnx")
    with pytest.raises(InvalidInput, match=r"^model\.onnx: is missing from the bundle"):
        opened("s3://models/broken", cache).places()
    s3.put_object(Bucket="models", Key="broken/model.onnx", Body=b"short")
    with pytest.raises(InvalidInput, match=r"^model\.onnx: has 5 bytes, bundle\.yaml lists"):
        opened("s3://models/broken", cache).places()
    assert not any(path.is_dir() for path in cache.glob("*"))
    with pytest.raises(InvalidInput, match="expected a path or one of s3://"):
        open_source("ftp://host/x", "m", cache)


def test_the_cache_forgets_versions_that_are_gone_from_the_store(s3: Any, tmp_path: Path, opened: Open) -> None:
    for version in ("1", "2"):
        write_bundle(tmp_path / "made" / version, models.mlp((3, 4, 1), seed=int(version)), None)
    upload(s3, tmp_path / "made", "leaving")
    source = opened("s3://models/leaving", tmp_path / "cache")
    first, second = source.places()
    for listed in s3.list_objects_v2(Bucket="models", Prefix="leaving/1/")["Contents"]:
        s3.delete_object(Bucket="models", Key=listed["Key"])
    os.utime(first.directory, (0, 0))
    assert [place.version for place in source.places()] == ["2"]
    assert (first.directory.exists(), second.directory.exists()) == (False, True)


def test_a_program_serves_from_s3_and_follows_it(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.onnx").write_bytes(models.mlp((3, 4, 1), seed=1))
    upload(s3, tmp_path, "program")
    arguments = ("--model_dir", "s3://models/program", "--model_cache", str(tmp_path / "cache"), "--repository_poll_s", "0.2")
    quick = ("--drain_delay_s", "0", "--profile_s", "0.05", "--max_rows", "4")
    with ServerProcess("penstock_predictor", "--model_name", "m", *arguments, *quick) as server:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
        first = httpx.post(f"{server.url}/v2/models/m/infer", json=body)
        assert first.status_code == 200
        s3.put_object(Bucket="models", Key="program/m/model.onnx", Body=models.mlp((3, 4, 1), seed=2))
        server.wait_event("model loaded", 2)
        reloaded = httpx.post(f"{server.admin_url}/v2/repository/models/m/load")
        assert reloaded.status_code == 200
        second = httpx.post(f"{server.url}/v2/models/m/infer", json=body)
        assert second.headers["penstock-bundle"] != first.headers["penstock-bundle"]
        s3.put_object(Bucket="models", Key="program/m/model.onnx", Body=b"no model")
        refused = httpx.post(f"{server.admin_url}/v2/repository/models/m/load")
        assert (refused.status_code, "model.onnx" in refused.json()["error"]) == (400, True)
        assert (
            httpx.post(f"{server.url}/v2/models/m/infer", json=body).headers["penstock-bundle"]
            == second.headers["penstock-bundle"]
        )
