"""The feature store goes away under a server and comes back: what needs it gets 503, what has defaults an answer that says so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.testing.flights import serve_flights

ROW = {"distance": 3.5, "tailnum": "N1", "carrier": "UA", "leaves": 0}
TENSORS = {
    "inputs": [
        {"name": "distance", "datatype": "FP32", "shape": [1], "data": [3.5]},
        {"name": "tailnum", "datatype": "BYTES", "shape": [1], "data": ["N1"]},
    ]
}


@pytest.fixture
def away(tmp_path: Path) -> Iterator[tuple[httpx.Client, Path]]:
    """A server whose store, with one record, has just been moved away."""
    with serve_flights(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        assert client.put("/records/a?model=flights", json={"values": ROW}).status_code == 201
        assert client.get("/predict/a?model=flights").status_code == 200
        yield client, (tmp_path / "online.db").rename(tmp_path / "gone.db")


def test_answers_say_that_they_are_degraded_or_503_until_it_is_back(away: tuple[httpx.Client, Path], tmp_path: Path) -> None:
    client, moved = away
    (prediction,) = predictions(client.post("/models/flights/predict", json={"rows": [ROW]}))
    assert (prediction["degraded"], prediction["data"]["seats"]) == (True, 149)
    assert "seats" in prediction["defaulted"]
    (v1,) = predictions(client.post("/v1/models/flights:predict", json={"instances": [ROW]}))
    assert v1["degraded"] is True
    v2 = client.post("/v2/models/flights/infer", json=TENSORS).json()
    assert v2["parameters"] == {"degraded": True}
    assert client.get("/v2/health/ready").status_code == 200
    for answer in (
        client.get("/predict/a?model=flights"),
        client.post("/models/flights/predict", json={"rows": [{"flight_id": "a"}]}),
        client.get("/records/a?model=flights"),
        client.put("/records/b?model=flights", json={"values": ROW}),
        client.delete("/records/a?model=flights"),
        client.get("/records?model=flights"),
        client.post("/records:import?model=flights", content="flight_id,distance\nc,1\n", headers={"content-type": "text/csv"}),
    ):
        assert (answer.status_code, answer.json()["kind"]) == (503, "upstream_unavailable"), answer.text
        assert "the feature store" in answer.text
        assert "Traceback" not in answer.text
    moved.rename(tmp_path / "online.db")
    (prediction,) = predictions(client.get("/predict/a?model=flights"))
    assert "degraded" not in prediction
    (prediction,) = predictions(client.post("/models/flights/predict", json={"rows": [ROW]}))
    assert "degraded" not in prediction
    assert "parameters" not in client.post("/v2/models/flights/infer", json=TENSORS).json()


def predictions(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found
