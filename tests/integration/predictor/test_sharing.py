"""Requests that wait together share runs of the model, and one caller's bad tensor among them fails that caller alone."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.testing import models
from penstock.testing.raw_http import RawConnection, infer_body, raw_request
from penstock.testing.server import ServerProcess

ROUNDS = 20
BAD = {3: "out of data bounds", 5: "inputs[0].name", 6: "outputs[0].name"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    directory: Path = tmp_path_factory.mktemp("repository")
    for name, model in {"row_sum": models.row_sum(), "embedding": models.embedding(5), "centred": models.centred()}.items():
        (directory / name).mkdir()
        (directory / name / "model.onnx").write_bytes(model)
    options = ("--model_name", "m", "--model_dir", str(directory), "--drain_delay_s", "0", "--profile_s", "0.1")
    with ServerProcess("penstock_predictor", *options) as running:
        yield running


@contextmanager
def waiting_together(server: ServerProcess, model: str, *bodies: bytes) -> Iterator[list[RawConnection]]:
    """Connections with a request each. A stopped server finds them all when it goes on, whatever else the machine does."""
    connections = [RawConnection(server.port) for _ in bodies]
    server.signal(signal.SIGSTOP)
    try:
        for connection, body in zip(connections, bodies, strict=True):
            connection.send(raw_request("POST", f"/v2/models/{model}/infer", body))
    finally:
        server.signal(signal.SIGCONT)
    yield connections
    for connection in connections:
        connection.close()


def counter(server: ServerProcess, name: str, model: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name) and f'model="{model}"' in line), 0.0)


@contextmanager
def counted(server: ServerProcess, model: str) -> Iterator[dict[str, float]]:
    """Requests and runs of the model within the block, known once it is left."""
    names = {"requests": "penstock_batched_requests_total", "runs": "penstock_batch_rows_count"}
    before = {key: counter(server, name, model) for key, name in names.items()}
    found: dict[str, float] = {}
    yield found
    found.update({key: counter(server, name, model) - before[key] for key, name in names.items()})


def asked(index: int, wrong: int | None = None) -> bytes:
    """What the embedding is asked; of a `wrong` kind (see BAD) or right."""
    name, at = "z" if wrong == 5 else "index", 99 if wrong == 3 else index % 5
    tensor: dict[str, Any] = {"name": name, "datatype": "INT64", "shape": [1], "data": [at]}
    return json.dumps({"inputs": [tensor], "outputs": [{"name": "q" if wrong == 6 else "y"}], "id": str(index)}).encode()


def test_requests_that_wait_together_share_runs(server: ServerProcess) -> None:
    with counted(server, "row_sum") as counts, waiting_together(server, "row_sum", *map(row, range(32))) as connections:
        for index, connection in enumerate(connections):
            assert json.loads(connection.answer().body)["outputs"][0]["data"] == [index + 0.5]
    assert counts["requests"] == 32
    assert counts["runs"] < 32


def row(index: int) -> bytes:
    return infer_body([index, 0.5])


def test_rows_of_other_lengths_never_share_a_run(server: ServerProcess) -> None:
    """The model's second axis varies: callers of one length may share, here each has another."""
    bodies = [infer_body([1.0] * length) for length in range(1, 33)]
    with counted(server, "row_sum") as counts, waiting_together(server, "row_sum", *bodies) as connections:
        for index, connection in enumerate(connections):
            assert json.loads(connection.answer().body)["outputs"][0]["data"] == [index + 1]
    assert counts["runs"] == counts["requests"] == 32


def test_a_model_whose_rows_interact_never_shares_a_run(server: ServerProcess) -> None:
    with counted(server, "centred") as counts, waiting_together(server, "centred", *map(triple, range(32))) as connections:
        for connection in connections:
            assert json.loads(connection.answer().body)["outputs"][0]["data"] == [0, 0, 0]
    assert counts["runs"] == counts["requests"] == 32


def triple(index: int) -> bytes:
    return infer_body([index, 1, 2])


def shared(server: ServerProcess) -> bool:
    """Whether some of 32 requests shared a run: where reading one takes longer than a direct run's distance each runs alone."""
    with counted(server, "embedding") as counts, waiting_together(server, "embedding", *map(asked, range(32))) as connections:
        assert [connection.answer().status for connection in connections] == [200] * 32
    assert counts["requests"] == 32
    return counts["runs"] < 32


def test_one_callers_bad_tensor_fails_that_caller_alone(server: ServerProcess) -> None:
    """What the model cannot do, an input and an output that it has not; all in what would be one batch."""
    assert any(shared(server) for _ in range(ROUNDS))
    wrong = [index % 8 if index % 8 in BAD else None for index in range(32)]
    with waiting_together(server, "embedding", *map(asked, range(32), wrong)) as connections:
        for index, connection in enumerate(connections):
            answer = connection.answer()
            found, kind = json.loads(answer.body), wrong[index]
            if kind is not None:
                assert (answer.status, BAD[kind] in found["error"]) == (400, True), found
            else:
                at = index % 5
                assert (answer.status, found["id"], found["outputs"][0]["data"]) == (200, str(index), [2 * at, 2 * at + 1])
