"""The two programs and a real Redis: predictions over the wire, and what happens when one of the three goes away."""

import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from penstock.dataplane import TensorMetadata
from penstock.features.reading import read_spec
from penstock.onnx import load
from penstock.testing.bundles import TRIPS, write_bundle
from penstock.testing.models import mlp
from penstock.testing.server import ServerProcess
from penstock.testing.servers import RedisServer, ServerMissing, free_port
from penstock.testing.waiting import until
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import RowWrite

OUTPUTS = (TensorMetadata("y", "FP32", (-1, 1)),)
ROW = {"distance": 10.0, "tailnum": "N1"}
X = np.array([[10.0, 150.0, 2.5]], np.float32)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    try:
        server = RedisServer()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with server:
        asyncio.run(fill(server.url()))
        yield server


async def fill(url: str) -> None:
    layout = read_spec(TRIPS).store
    assert layout is not None
    store = open_store(url, layout)
    await store.start()
    planes = [RowWrite("planes", (f"N{i}",), {"seats": 150, "weight": 2.5}, time.time()) for i in range(1, 40)]
    trip = RowWrite("trips", (7,), {"distance": 10.0, "tailnum": "N1", "note": "early"}, time.time())
    assert all(await store.write([*planes, trip]))
    await store.close()


class Bundles:
    """Bundles of two versions, and what each must answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digests: dict[str, str] = {}
        self.values: dict[str, float] = {}
        for version, seed in (("1", 1), ("2", 2)):
            model = mlp((3, 4, 1), seed=seed)
            self.digests[version] = write_bundle(folder / version, model, TRIPS, version=version, outputs=OUTPUTS)
            self.values[version] = float(load(model).run({"x": X})[0][0, 0])

    def label(self, version: str) -> str:
        return f"flights@{self.digests[version]}"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("bundles"))


def predictor(bundles: Bundles, version: str, port: int = 0) -> ServerProcess:
    options = [
        "--model_name",
        "flights",
        "--model_dir",
        str(bundles.folder / version),
        "--profile_s",
        "0",
        "--drain_delay_s",
        "0",
    ]
    return ServerProcess("penstock_predictor", *options, *(["--http_port", str(port)] if port else []))


def transformer(redis: RedisServer, *options: str) -> ServerProcess:
    common = ["--model_name", "flights", "--feature_store", redis.url(), "--drain_delay_s", "0", "--predictor_poll_s", "0.2"]
    return ServerProcess("penstock_transformer", *common, *options)


def ask(server: ServerProcess, row: Any = ROW, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}/models/flights/predict", json={"rows": [row]}, headers=headers, timeout=20)


def test_predictions_over_the_wire(redis: RedisServer, bundles: Bundles) -> None:
    with predictor(bundles, "1") as model, transformer(redis, "--predictor_host", f"127.0.0.1:{model.port}") as server:
        answer = ask(server)
        assert answer.status_code == 200
        assert answer.headers["Penstock-Bundle"] == bundles.label("1")
        (prediction,) = answer.json()["predictions"]
        assert prediction["value"] == pytest.approx(bundles.values["1"], rel=1e-5)
        assert prediction["data"] == {"distance": 10.0, "seats": 150, "weight": 2.5}
        record = httpx.get(f"{server.url}/predict/7", timeout=20).json()
        assert record["record"]["note"] == "early"
        assert record["predictions"][0]["value"] == prediction["value"]
        inputs = [
            {"name": "distance", "datatype": "FP32", "shape": [1], "data": [10]},
            {"name": "tailnum", "datatype": "BYTES", "shape": [1], "data": ["N1"]},
        ]
        v2 = httpx.post(f"{server.url}/v2/models/flights/infer", json={"inputs": inputs}, timeout=20).json()
        assert v2["outputs"][0]["data"] == pytest.approx([bundles.values["1"]], rel=1e-5)
        encoded = {
            "parameters": {"encoded": True},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": X[0].tolist()}],
        }
        passed = httpx.post(f"{server.url}/v2/models/flights/infer", json=encoded, timeout=20).json()
        assert passed["outputs"][0]["data"] == v2["outputs"][0]["data"]
        unknown = ask(server, {**ROW, "wings": 2})
        assert unknown.status_code == 400
        assert "rows[0].wings" in unknown.text
        assert unknown.headers["Penstock-Bundle"] == bundles.label("1")
        refused = ask(server, **{"Penstock-Expect-Bundle": "sha256:" + "0" * 64})
        assert refused.status_code == 412
        assert ask(server, **{"Penstock-Expect-Bundle": bundles.digests["1"]}).status_code == 200
        acknowledged = httpx.get(f"{server.admin_url}/route", timeout=20).json()
        assert (acknowledged["revision"], acknowledged["applied"]) == (0, [bundles.digests["1"]])
        assert (acknowledged["model"], acknowledged["error"], acknowledged["source"]) == ("flights", None, "predictor")
        metrics = httpx.get(f"{server.url}/metrics", timeout=20).text
        assert re.search(r'penstock_transformer_store_errors_total\{model="[^"]+"\} 0.0', metrics)
        assert server.stop() == 0


def test_a_store_that_goes_away_and_comes_back(bundles: Bundles) -> None:
    try:
        own = RedisServer()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with own, predictor(bundles, "1") as model, transformer(own, "--predictor_host", f"127.0.0.1:{model.port}") as server:
        asyncio.run(fill(own.url()))
        assert ask(server).status_code == 200
        own.kill()
        gone = ask(server)
        assert gone.status_code == 503
        assert "store" in gone.text
        assert httpx.get(f"{server.url}/v2/health/ready", timeout=20).status_code == 200
        own.start()
        asyncio.run(fill(own.url()))
        until(lambda: ask(server).status_code == 200)


def test_a_predictor_that_dies_and_comes_back_with_another_bundle(redis: RedisServer, bundles: Bundles) -> None:
    port = free_port()
    first = predictor(bundles, "1", port).start().wait_ready()
    with transformer(redis, "--predictor_host", f"127.0.0.1:{port}") as server:
        assert ask(server).headers["Penstock-Bundle"] == bundles.label("1")
        first.signal(signal.SIGKILL)
        first.wait()
        gone = ask(server)
        assert gone.status_code == 503
        assert httpx.get(f"{server.url}/v2/health/ready", timeout=20).status_code == 200
        with predictor(bundles, "2", port):
            until(lambda: ask(server).status_code == 200)
            answer = ask(server)
            assert answer.headers["Penstock-Bundle"] == bundles.label("2")
            assert answer.json()["predictions"][0]["value"] == pytest.approx(bundles.values["2"], rel=1e-5)


def test_a_route_shifts_without_a_wrong_or_failed_answer(redis: RedisServer, bundles: Bundles, tmp_path: Path) -> None:
    route = tmp_path / "route.yaml"
    with predictor(bundles, "1") as one, predictor(bundles, "2") as two:
        addresses = {"1": one.url, "2": two.url}

        def write(revision: int, **weights: int) -> None:
            entries = [{"digest": bundles.digests[v[1:]], "predictor": addresses[v[1:]], "weight": w} for v, w in weights.items()]
            document = {"formatVersion": 1, "revision": revision, "model": "flights", "bundles": entries}
            new = tmp_path / "new.yaml"
            new.write_text(yaml.safe_dump(document))
            new.replace(route)

        write(1, v1=100)
        with transformer(redis, "--route_file", str(route), "--route_poll_s", "0.05") as server, httpx.Client() as client:
            seen: Counter[str] = Counter()

            def send(number: int) -> str:
                body = {"rows": [{**ROW, "tailnum": f"N{number % 39 + 1}"}]}
                answer = client.post(f"{server.url}/models/flights/predict", json=body, timeout=20)
                assert answer.status_code == 200, answer.text
                version = "1" if answer.headers["Penstock-Bundle"] == bundles.label("1") else "2"
                assert answer.json()["predictions"][0]["value"] == pytest.approx(bundles.values[version], rel=1e-5)
                seen[version] += 1
                return version

            def revision() -> int:
                send(sum(seen.values()))
                found: int = client.get(f"{server.admin_url}/route", timeout=20).json()["revision"]
                return found

            assert revision() == 1
            write(2, v1=50, v2=50)
            until(lambda: revision() == 2)
            halves = [send(i) for i in range(39)]
            assert set(halves) == {"1", "2"}
            assert [send(i) for i in range(39)] == halves
            route.write_text("formatVersion: 9")
            rejected = re.compile(r"penstock_transformer_route_rejected_total\{.*\} [1-9]")
            until(lambda: rejected.search(client.get(f"{server.url}/metrics").text))
            assert revision() == 2
            write(3, v2=100)
            until(lambda: revision() == 3)
            assert {send(i) for i in range(39)} == {"2"}
            one.stop()
            assert {send(i) for i in range(39)} == {"2"}


def test_a_plain_model_needs_no_store(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(mlp((3, 4, 1)))
    with ServerProcess(
        "penstock_predictor", "--model_name", "m", "--model_dir", str(tmp_path), "--profile_s", "0", "--drain_delay_s", "0"
    ) as model:
        host = f"127.0.0.1:{model.port}"
        with ServerProcess(
            "penstock_transformer", "--model_name", "m", "--predictor_host", host, "--drain_delay_s", "0"
        ) as server:
            body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [0.5] * 6}]}
            direct, through = (httpx.post(f"{s.url}/v2/models/m/infer", json=body, timeout=20).json() for s in (model, server))
            assert direct["outputs"] == through["outputs"]
            rows = httpx.post(f"{server.url}/models/m/predict", json={"rows": [{"x": [0.5] * 3}]}, timeout=20).json()
            assert rows["predictions"][0]["outputs"]["y"] == pytest.approx([direct["outputs"][0]["data"][0]])


def test_a_transformer_that_never_reached_its_predictor_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(mlp((3, 4, 1)))
    common, port = ("--model_name", "m", "--drain_delay_s", "0"), free_port()
    server = ServerProcess("penstock_transformer", *common, "--predictor_host", f"127.0.0.1:{port}").start()
    try:
        url = f"http://127.0.0.1:{server.wait_event('listening', 30)['port']}"

        def reason() -> str:
            return str(httpx.get(f"{url}/readyz").json()["reasons"].get("bundle"))

        until(lambda: f"127.0.0.1:{port} cannot be reached" in reason())
        assert httpx.get(f"{url}/healthz").json()["state"] == "starting"
        assert 'penstock_unready{check="bundle"} 1.0' in httpx.get(f"{url}/metrics").text
        given = ("--model_dir", str(tmp_path), "--http_port", str(port), "--profile_s", "0")
        with ServerProcess("penstock_predictor", *common, *given):
            until(lambda: httpx.get(f"{url}/readyz").json() == {"ready": True, "reasons": {}})
        # Once there was a bundle, a predictor that is away is an error of its requests.
        assert httpx.get(f"{url}/readyz").status_code == 200
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [0.5] * 3}]}
        answer = httpx.post(f"{url}/v2/models/m/infer", json=body, timeout=20)
        assert (answer.status_code, "cannot be reached" in answer.json()["error"]) == (503, True)
        assert server.stop() == 0
    finally:
        server.__exit__(None, None, None)
