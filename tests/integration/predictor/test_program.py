"""The predictor over the wire: every kind of model, both forms, bad input, draining under load, loading while serving."""

import asyncio
import http.client
import json
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from penstock.onnx import load
from penstock.testing import models
from penstock.testing.server import ServerProcess

KINDS = {
    "mlp": models.mlp((3, 8, 2)),
    "several": models.several(),
    "labels": models.labels(),
    "half": models.half(),
    "negated": models.negated(),
    "row_sum": models.row_sum(),
    "embedding": models.embedding(5),
    "centred": models.centred(),
    "fixed": models.fixed(4),
    "total": models.total(),
    "scalars": models.scalars(),
    "listed": models.listed(),
}


def program(directory: Path, *arguments: str) -> ServerProcess:
    return ServerProcess(
        "penstock_predictor", "--model_name", "m", "--model_dir", str(directory), "--drain_delay_s", "0", *arguments
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("repository")
    for name, model in KINDS.items():
        (directory / name).mkdir()
        (directory / name / "model.onnx").write_bytes(model)
    return directory


@pytest.fixture(scope="module")
def server(repository: Path) -> Any:
    with program(repository, "--profile_s", "0.5", "--max_rows", "64") as running:
        yield running


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def infer(server: ServerProcess, model: str, *inputs: dict[str, Any], **members: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v2/models/{model}/infer", json={"inputs": list(inputs), **members})


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


@pytest.mark.parametrize(
    ("model", "inputs", "expected"),
    [
        ("several", [tensor("a", "FP32", [2, 2], [1, 2, 3, 4]), tensor("b", "INT64", [2], [1, 3])],
         {"sum": [2, 3, 6, 7], "big": [False, True], "b2": [2, 6]}),
        ("labels", [tensor("word", "BYTES", [2, 1], ["yes", "ü"])], {"index": [3, -1], "same": ["yes", "ü"]}),
        ("negated", [tensor("x", "BOOL", [1, 2], [True, False])], {"y": [False, True]}),
        ("row_sum", [tensor("x", "FP32", [2, 3], [1, 2, 3, 4, 5, 6])], {"y": [6, 15]}),
        ("embedding", [tensor("index", "INT64", [2], [4, 0])], {"y": [8, 9, 0, 1]}),
        ("centred", [tensor("x", "FP32", [2, 3], [1, 2, 3, 3, 4, 5])], {"y": [-1, -1, -1, 1, 1, 1]}),
        ("total", [tensor("x", "FP32", [1, 3], [1, 2, 3])], {"y": [6]}),
        ("scalars", [tensor("a", "FP32", [], [1]), tensor("b", "FP32", [], [2])], {"y": [3]}),
        ("listed", [tensor("x", "FP32", [1, 3], [0, 5, 1])], {"label": [1]}),
    ],
)  # fmt: skip
def test_every_kind_of_model_answers(
    server: ServerProcess, model: str, inputs: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    answer = infer(server, model, *inputs)
    assert outputs(answer) == expected
    assert answer.headers["penstock-bundle"].startswith(f"{model}@sha256:")


def test_a_fixed_batch_answers_any_number_of_rows(server: ServerProcess) -> None:
    values = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    (expected,) = load(models.mlp((3, 8, 2))).run({"x": values})
    found = outputs(infer(server, "fixed", tensor("x", "FP32", [6, 3], values.ravel().tolist())))
    np.testing.assert_allclose(np.reshape(found["y"], (6, 2)), expected, rtol=1e-4)


def test_float16_is_binary_both_ways(server: ServerProcess) -> None:
    data = np.array([[0.5, 1, 2]], np.float16)
    head = json.dumps(
        {
            "inputs": [{"name": "x", "datatype": "FP16", "shape": [1, 3], "parameters": {"binary_data_size": 6}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    answer = httpx.post(
        f"{server.url}/v2/models/half/infer",
        content=head + data.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:length])["outputs"][0]["datatype"] == "FP16"
    assert np.frombuffer(answer.content[length:], np.float16).tolist() == [1, 2, 4]


@pytest.mark.parametrize(
    ("model", "body", "status", "message"),
    [
        ("mlp", {"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}, 400, "inputs[0].shape: expected [-1, 3], got [1, 4]"),
        ("mlp", {"inputs": [tensor("x", "INT64", [1, 3], [1, 2, 3])]}, 400, "inputs[0].datatype: expected FP32, got INT64"),
        ("mlp", {"inputs": [tensor("z", "FP32", [1, 3], [1, 2, 3])]}, 400, "inputs[0].name: the model has no input 'z'"),
        ("mlp", {"inputs": [tensor("x", "FP32", [1, 3], [1, 2, 3])], "outputs": [{"name": "q"}]}, 400, "outputs[0].name"),
        ("several", {"inputs": [tensor("b", "INT64", [1], [1])]}, 400, "inputs: missing a"),
        ("embedding", {"inputs": [tensor("index", "INT64", [1], [99])]}, 400, "out of data bounds"),
        ("nothing", {"inputs": [tensor("x", "FP32", [1, 3], [1, 2, 3])]}, 404, "no model 'nothing' here"),
        ("mlp/versions/7", {"inputs": [tensor("x", "FP32", [1, 3], [1, 2, 3])]}, 404, "no version '7'; it has 1"),
    ],
)  # fmt: skip
def test_bad_requests_are_told_what_was_expected(
    server: ServerProcess, model: str, body: dict[str, Any], status: int, message: str
) -> None:
    answer = httpx.post(f"{server.url}/v2/models/{model}/infer", json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_another_bundle_than_expected_is_412(server: ServerProcess) -> None:
    body = {"inputs": [tensor("x", "FP32", [1, 3], [1, 2, 3])]}
    headers = {"Penstock-Expect-Bundle": "sha256:" + "0" * 64}
    answer = httpx.post(f"{server.url}/v2/models/mlp/infer", json=body, headers=headers)
    assert answer.status_code == 412
    digest = httpx.get(f"{server.url}/v2/models/mlp").json()["bundle"].partition("@")[2]
    headers["Penstock-Expect-Bundle"] = digest
    assert httpx.post(f"{server.url}/v2/models/mlp/infer", json=body, headers=headers).status_code == 200


def test_errors_name_the_bundle_that_gave_them(server: ServerProcess) -> None:
    label = httpx.get(f"{server.url}/v2/models/mlp").json()["bundle"]
    good, bad = tensor("x", "FP32", [1, 3], [1, 2, 3]), tensor("x", "FP32", [1, 2], [1, 2])
    expecting = {"Penstock-Expect-Bundle": "sha256:" + "0" * 64}
    for given, headers, status in ((bad, {}, 400), (good, expecting, 412)):
        answer = httpx.post(f"{server.url}/v2/models/mlp/infer", json={"inputs": [given]}, headers=headers)
        assert answer.status_code == status
        assert answer.headers["Penstock-Bundle"] == label
    assert "Penstock-Bundle" not in infer(server, "nobody", good).headers


def test_v1_predict(server: ServerProcess) -> None:
    answer = httpx.post(f"{server.url}/v1/models/row_sum:predict", json={"instances": [[1, 2], [3, 4]]})
    assert answer.json() == {"predictions": [3, 7]}


def test_profile_is_in_metadata_and_metrics(server: ServerProcess) -> None:
    properties = httpx.get(f"{server.url}/v2/models/mlp").json()["properties"]
    assert [entry["rows"] for entry in properties["profile"]] == [1, 2, 4, 8, 16, 32, 64]
    assert properties["batching"]["sharing"] == "free"
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'model="mlp",rows="64"' in metrics
    event = server.wait_event("model loaded", 1, lambda entry: entry["model"] == "mlp")
    assert event["profile"] == properties["profile"]


def test_small_files_are_served_and_the_model_is_not(server: ServerProcess) -> None:
    url = f"{server.url}/v2/models/mlp/bundle"
    assert httpx.get(f"{url}/bundle.yaml").content.startswith(b"formatVersion: 1")
    assert httpx.get(f"{url}/model.onnx").status_code == 404


def test_hundreds_of_callers_each_get_their_own_rows(server: ServerProcess) -> None:
    session = load(models.mlp((3, 8, 2)))
    rng = np.random.default_rng(5)

    async def one(client: httpx.AsyncClient, index: int) -> None:
        if index % 7 == 0:
            bad = await client.post("/v2/models/embedding/infer", json={"inputs": [tensor("index", "INT64", [1], [50 + index])]})
            assert bad.status_code == 400
            return
        if index % 3 == 0:
            at = index % 5
            good = await client.post("/v2/models/embedding/infer", json={"inputs": [tensor("index", "INT64", [1], [at])]})
            assert outputs(good) == {"y": [2 * at, 2 * at + 1]}
            return
        values = rng.normal(size=(int(rng.integers(1, 5)), 3)).astype(np.float32)
        body = {"id": str(index), "inputs": [tensor("x", "FP32", list(values.shape), values.ravel().tolist())]}
        answer = await client.post("/v2/models/mlp/infer", json=body)
        assert answer.json()["id"] == str(index)
        np.testing.assert_allclose(np.reshape(outputs(answer)["y"], (-1, 2)), session.run({"x": values})[0], rtol=1e-4, atol=1e-6)

    async def all_of_them() -> None:
        limits, timeout = httpx.Limits(max_connections=32), httpx.Timeout(60, pool=None)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=timeout) as client:
            await asyncio.gather(*(one(client, index) for index in range(300)))

    asyncio.run(all_of_them())


def test_kserves_own_client_is_answered(server: ServerProcess) -> None:
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    async def ask(binary: bool) -> Any:
        client = InferenceRESTClient(RESTConfig(protocol="v2", verbose=False))
        given = InferInput(name="x", shape=[2, 3], datatype="FP32")
        given.set_data_from_numpy(np.ones((2, 3), np.float32), binary_data=binary)
        request = InferRequest(model_name="row_sum", infer_inputs=[given])
        try:
            assert await client.is_server_ready(server.url)
            assert await client.is_model_ready(server.url, "row_sum")
            return await client.infer(server.url, request, model_name="row_sum")
        finally:
            await client.close()

    for binary in (False, True):
        answer = asyncio.run(ask(binary))
        assert answer.outputs[0].as_numpy().tolist() == [3, 3]


def test_models_are_loaded_and_unloaded_while_serving(tmp_path: Path) -> None:
    def write(name: str, seed: int) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "model.onnx").write_bytes(models.mlp((3, 4, 1), seed=seed))

    write("a", 1)
    with program(tmp_path) as server:
        body = {"inputs": [tensor("x", "FP32", [1, 3], [1, 2, 3])]}

        def ask(name: str) -> httpx.Response:
            return httpx.post(f"{server.url}/v2/models/{name}/infer", json=body)

        def admin(path: str) -> httpx.Response:
            return httpx.post(f"{server.admin_url}/v2/repository/{path}")

        first = ask("a").headers["penstock-bundle"]
        write("a", 2)
        write("b", 3)
        assert {entry["name"]: entry["state"] for entry in admin("index").json()} == {"a": "READY", "b": "UNAVAILABLE"}
        assert admin("models/a/load").json() == {"name": "a", "load": True}
        assert admin("models/b/load").status_code == 200
        assert ask("a").headers["penstock-bundle"] != first
        assert ask("b").status_code == 200
        assert admin("models/b/unload").json() == {"name": "b", "unload": True}
        assert ask("b").status_code == 404
        assert admin("models/none/load").status_code == 404
        (tmp_path / "a" / "model.onnx").write_bytes(b"broken")
        assert admin("models/a/load").status_code == 400
        assert ask("a").status_code == 200


def test_a_drain_under_load_breaks_no_answer(repository: Path) -> None:
    server = program(repository / "mlp", "--drain_delay_s", "0.3").start().wait_ready()
    body = json.dumps({"inputs": [tensor("x", "FP32", [1, 3], [1, 2, 3])]})
    statuses: list[int] = []
    broken: list[BaseException] = []
    enough = threading.Event()

    def caller() -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            try:
                connection.connect()
            except OSError:
                return  # Nobody listens any more: the drain is over.
            try:
                while connection.sock is not None:
                    connection.request("POST", "/v2/models/m/infer", body)
                    answer = connection.getresponse()
                    answer.read()
                    statuses.append(answer.status)
                    if len(statuses) > 500:
                        enough.set()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                pass  # Closed between two requests, before any byte of an answer: the one case a client must repeat.
            except BaseException as error:
                broken.append(error)
                return
            finally:
                connection.close()

    callers = [threading.Thread(target=caller) for _ in range(16)]
    for thread in callers:
        thread.start()
    assert enough.wait(30)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    for thread in callers:
        thread.join(30)
    assert broken == []
    assert set(statuses) == {200}
    server.__exit__(None, None, None)


def test_a_start_that_fails_says_why_and_exits_1(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    server = program(tmp_path).start()
    assert server.wait() == 1
    assert any("model.onnx: not an ONNX model" in line for line in server.lines)
    server.__exit__(None, None, None)
