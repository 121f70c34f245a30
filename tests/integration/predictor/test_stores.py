"""Models out of object stores: S3 against a server of moto's, web servers with and without ranges, and all that breaks."""

import hashlib
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from penstock.errors import Conflict, InvalidInput, NotFound, PenstockError, UpstreamUnavailable
from penstock.testing import models
from penstock.testing.bundles import write_bundle
from penstock.testing.server import ServerProcess
from penstock_predictor.loading import load_model
from penstock_predictor.settings import ModelSettings
from penstock_predictor.source import open_source
from penstock_predictor.store.cache import ModelCache
from penstock_predictor.store.object_source import ObjectSource

QUICK = ModelSettings(max_rows=2, profile_s=0.0)
# Large enough to come in several chunks and to be cut in the middle.
LARGE = models.mlp((3, 600, 600, 1))


class WebServer:
    """Files of a directory over HTTP. `ranges`: answers them; `cut`, `cuts`: ends an answer after so many bytes, so often."""

    def __init__(self, directory: Path, *, ranges: bool) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.cut, self.cuts = 0, 0
        self.on_cut: Callable[[], object] = lambda: None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(head=True)

            def do_GET(self) -> None:
                self._answer(head=False)

            def _answer(self, *, head: bool) -> None:
                path = directory / self.path.lstrip("/")
                outer.requests.append((self.path, self.headers.get("Range")))
                if not path.is_file():
                    self.send_error(404)
                    return
                data, start, stop = path.read_bytes(), 0, path.stat().st_size
                etag = f'"{hashlib.md5(data).hexdigest()}"'
                if self.headers.get("If-Match") not in (None, etag):
                    self.send_error(412)
                    return
                asked = self.headers.get("Range") if ranges else None
                if asked:
                    first, _, last = asked.removeprefix("bytes=").partition("-")
                    start, stop = int(first), min(int(last) + 1 if last else stop, stop)
                self.send_response(206 if asked else 200)
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
                self.send_header("Content-Length", str(stop - start))
                self.send_header("Last-Modified", self.date_time_string(int(path.stat().st_mtime)))
                self.send_header("ETag", etag)
                self.end_headers()
                if head:
                    return
                body = data[start:stop]
                if outer.cuts and len(body) > outer.cut:
                    outer.cuts -= 1
                    outer.on_cut()
                    body, self.close_connection = body[: outer.cut], True
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> "WebServer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def asked(self, name: str) -> list[str | None]:
        return [asked for path, asked in self.requests if path.endswith(name)]


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


def read(source: ObjectSource, model: str | None = None) -> dict[str, bytes]:
    (place,) = source.places(model)
    return {path.name: path.read_bytes() for path in place.directory.iterdir()}


def opened(address: str, cache: Path) -> ObjectSource:
    source = open_source(address, "m", cache)
    assert isinstance(source, ObjectSource)
    return source


def test_a_bundle_from_s3_serves_by_its_digest_and_is_fetched_once(s3: Any, tmp_path: Path) -> None:
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


def test_a_repository_in_s3_is_laid_out_like_a_directory(s3: Any, tmp_path: Path) -> None:
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


def test_what_a_store_lacks_or_forbids_is_said(s3: Any, tmp_path: Path) -> None:
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


# --- web servers


@pytest.mark.parametrize("ranges", [True, False])
def test_a_bundle_from_a_web_server(tmp_path: Path, ranges: bool) -> None:
    write_bundle(tmp_path / "www" / "b", LARGE, None)
    with WebServer(tmp_path / "www", ranges=ranges) as web:
        found = read(opened(f"{web.url}/b", tmp_path / "cache"))
        assert found == {path.name: path.read_bytes() for path in (tmp_path / "www" / "b").iterdir()}
        assert any(asked for asked in web.asked("model.onnx"))


def test_an_address_without_a_model_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    with WebServer(tmp_path / "www", ranges=True) as web:
        with pytest.raises(NotFound, match=r"/b holds neither bundle\.yaml nor model\.onnx"):
            opened(f"{web.url}/b", tmp_path / "cache").places()
        with pytest.raises(NotFound, match=r"/b/net\.onnx is not there"):
            opened(f"{web.url}/b/net.onnx", tmp_path / "cache").places()


@pytest.mark.parametrize("name", ["b/net.onnx", "b"])
def test_a_plain_model_from_a_web_server_with_its_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / "www" / "b").mkdir(parents=True)
    path = models.save_external(tmp_path / "www" / "b")
    if name.endswith(".onnx"):
        path.rename(path.with_name("net.onnx"))
    with WebServer(tmp_path / "www", ranges=True) as web:
        (place,) = opened(f"{web.url}/{name}", tmp_path / "cache").places()
        assert load_model(place, QUICK).session.inputs


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_is_resumed_or_begun_again(tmp_path: Path, ranges: bool) -> None:
    write_bundle(tmp_path / "www" / "b", LARGE, None)
    with WebServer(tmp_path / "www", ranges=ranges) as web:
        web.cut, web.cuts = len(LARGE) * 2 // 3, 1
        found = read(opened(f"{web.url}/b", tmp_path / "cache"))
        assert found["model.onnx"] == LARGE
        assert web.cuts == 0


@pytest.mark.parametrize("ranges", [True, False])
def test_a_plain_model_that_is_replaced_while_it_is_fetched_is_never_half_of_each(tmp_path: Path, ranges: bool) -> None:
    (tmp_path / "www").mkdir()
    file = tmp_path / "www" / "model.onnx"
    file.write_bytes(LARGE)
    other = bytes(LARGE[:-1]) + bytes([LARGE[-1] ^ 1])
    with WebServer(tmp_path / "www", ranges=ranges) as web:
        web.cut, web.cuts = len(LARGE) // 2, 1
        web.on_cut = lambda: file.write_bytes(other)
        source = opened(web.url, tmp_path / "cache")
        with pytest.raises(Conflict, match="replaced while it was fetched"):
            source.places()
        assert read(source)["model.onnx"] == other


def test_what_an_earlier_process_left_is_continued(tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "www" / "b", LARGE, None).removeprefix("sha256:")
    partial = tmp_path / "cache" / f"{digest}.partial"
    partial.mkdir(parents=True)
    kept = len(LARGE) // 2
    (partial / "model.onnx.part").write_bytes(LARGE[:kept])
    with WebServer(tmp_path / "www", ranges=True) as web:
        assert read(opened(f"{web.url}/b", tmp_path / "cache"))["model.onnx"] == LARGE
        assert web.asked("model.onnx") == [f"bytes={kept}-{len(LARGE) - 1}"]


@pytest.mark.parametrize("left", [b"\0" * 1000, LARGE + b"more"])
def test_what_was_left_of_another_file_is_thrown_away(tmp_path: Path, left: bytes) -> None:
    digest = write_bundle(tmp_path / "www" / "b", LARGE, None).removeprefix("sha256:")
    partial = tmp_path / "cache" / f"{digest}.partial"
    partial.mkdir(parents=True)
    (partial / "model.onnx.part").write_bytes(left)
    with WebServer(tmp_path / "www", ranges=True) as web:
        assert read(opened(f"{web.url}/b", tmp_path / "cache"))["model.onnx"] == LARGE


def test_a_changed_byte_is_found_by_the_files_name(tmp_path: Path) -> None:
    write_bundle(tmp_path / "www" / "b", LARGE, None)
    (tmp_path / "www" / "b" / "model.onnx").write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
    with WebServer(tmp_path / "www", ranges=True) as web:
        source = opened(f"{web.url}/b", tmp_path / "cache")
        with pytest.raises(InvalidInput, match=r"model\.onnx: has digest sha256:\w+, bundle\.yaml lists"):
            source.places()
        # Once it is mended the same source brings it.
        (tmp_path / "www" / "b" / "model.onnx").write_bytes(LARGE)
        assert read(source)["model.onnx"] == LARGE


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with WebServer(tmp_path, ranges=True) as web:
        url = web.url
    source = opened(f"{url}/b", tmp_path / "cache")
    with pytest.raises(UpstreamUnavailable, match="cannot be read"):
        source.places()


def test_two_processes_fetch_a_model_once(tmp_path: Path) -> None:
    write_bundle(tmp_path / "www" / "b", LARGE, None)
    errors: list[PenstockError] = []

    def bring() -> None:
        try:
            read(opened(f"{web.url}/b", tmp_path / "cache"))
        except PenstockError as error:
            errors.append(error)

    with WebServer(tmp_path / "www", ranges=True) as web:
        threads = [threading.Thread(target=bring) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert errors == []
        assert len(web.asked("model.onnx")) == 1


def test_the_cache_forgets_what_nobody_wants(tmp_path: Path) -> None:
    write_bundle(tmp_path / "www" / "b", models.mlp((3, 4, 1)), None)
    with WebServer(tmp_path / "www", ranges=True) as web:
        source = opened(f"{web.url}/b", tmp_path / "cache")
        (old,) = source.places()
        shutil.rmtree(tmp_path / "www" / "b")
        write_bundle(tmp_path / "www" / "b", models.mlp((3, 4, 1), seed=3), None)
        (new,) = source.places()
        assert old.directory.is_dir()
        os.utime(old.directory, (0, 0))
        os.utime(new.directory, (0, 0))
        source.places()
        assert (old.directory.exists(), new.directory.exists()) == (False, True)


def test_the_cache_forgets_versions_that_are_gone_from_the_store(s3: Any, tmp_path: Path) -> None:
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


def test_what_another_process_fetches_is_not_forgotten_however_long_it_takes(tmp_path: Path) -> None:
    partial, begun, go_on = tmp_path / "key.partial", threading.Event(), threading.Event()

    def fetch(into: Path) -> None:
        (into / "model.onnx.part").write_bytes(b"half")
        os.utime(into, (0, 0))
        begun.set()
        assert go_on.wait(30)

    fetching = threading.Thread(target=ModelCache(tmp_path).hold, args=("key", fetch))
    fetching.start()
    assert begun.wait(30)
    ModelCache(tmp_path).discard(())
    assert (partial / "model.onnx.part").exists()
    go_on.set()
    fetching.join(30)
    os.utime(tmp_path / "key", (0, 0))
    ModelCache(tmp_path).discard(())
    assert not (tmp_path / "key").exists()


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    write_bundle(tmp_path / "www" / "b", models.mlp((3, 4, 1)), None)
    (tmp_path / "file").write_bytes(b"")
    with WebServer(tmp_path / "www", ranges=True) as web, pytest.raises(InvalidInput, match="cannot be written"):
        opened(f"{web.url}/b", tmp_path / "file" / "cache").places()


def test_float_models_answer_from_a_store_as_from_a_directory(tmp_path: Path) -> None:
    (tmp_path / "www" / "b").mkdir(parents=True)
    (tmp_path / "www" / "b" / "model.onnx").write_bytes(LARGE)
    with WebServer(tmp_path / "www", ranges=True) as web:
        (place,) = opened(f"{web.url}/b/model.onnx", tmp_path / "cache").places()
        (local,) = open_source(str(tmp_path / "www" / "b"), "m", tmp_path).places()
        x = {"x": np.ones((1, 3), np.float32)}
        (one,), (other,) = (load_model(each, QUICK).session.run(x) for each in (place, local))
        assert one.tolist() == other.tolist()
