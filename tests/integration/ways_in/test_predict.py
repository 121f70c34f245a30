"""Predictions from a real server, in every form that a request may have."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

PREDICT = "/models/flights/predict"
PICTURES = "/models/pictures/predict"


@pytest.fixture(scope="module", autouse=True)
def records(http: httpx.Client) -> None:
    values = {"distance": 500.5, "carrier": "UA", "tailnum": "N1", "leaves": "2013-01-01T05:15:00Z"}
    assert http.put("/records/UA%201?model=flights", json={"values": values}).status_code in (200, 201)


def image(kind: str = "PNG", grey: int = 51) -> bytes:
    out = io.BytesIO()
    Image.new("L", (9, 7), grey).save(out, kind)
    return out.getvalue()


def test_rows_become_predictions_with_their_data(http: httpx.Client) -> None:
    answer = http.post(PREDICT, json={"rows": [{"distance": 3.5, "carrier": "UA"}, {"distance": 0, "stops": 2}]})
    assert answer.status_code == 200
    document = answer.json()
    assert document["bundle"] == answer.headers["penstock-bundle"]
    first, second = document["predictions"]
    assert first["data"] == {"distance": 3.5, "carrier": "UA", "stops": 0, "leaves": 0, "seats": 149}
    assert first["defaulted"] == ["stops", "leaves", "seats"]
    assert first["label"] in ("late", "on time")
    assert first["scores"]["late"] + first["scores"]["on time"] == pytest.approx(1)
    assert second["data"]["stops"] == 2


def test_every_form_of_the_same_row_has_the_same_prediction(http: httpx.Client) -> None:
    row = {"distance": 3.5, "carrier": "UA", "stops": 1, "leaves": 7200}
    wanted = http.post(PREDICT, json={"rows": [row]}).json()["predictions"]
    header, cells = ",".join(row), ",".join(str(value) for value in row.values())
    csv = http.post(PREDICT, content=f"{header}\r\n{cells}\r\n", headers={"content-type": "text/csv; charset=utf-8"})
    form = http.post(PREDICT, files={name: (None, str(value)) for name, value in row.items()})
    v1 = http.post("/v1/models/flights:predict", json={"instances": [row]})
    assert csv.json()["predictions"] == wanted
    assert form.json()["predictions"] == wanted
    assert v1.json()["predictions"] == wanted
    kinds = {"distance": "FP32", "carrier": "BYTES", "stops": "INT32", "leaves": "FP64"}
    inputs = [{"name": name, "datatype": kinds[name], "shape": [1], "data": [value]} for name, value in row.items()]
    v2 = http.post("/v2/models/flights/infer", json={"inputs": inputs})
    assert v2.json()["outputs"][0]["data"] == pytest.approx([wanted[0]["scores"]["late"]])


def test_the_data_may_be_left_out(http: httpx.Client) -> None:
    answer = http.post(PREDICT, json={"rows": [{"distance": 1}], "options": {"data": False}})
    assert "data" not in answer.json()["predictions"][0]


def test_a_value_without_an_encoding_is_refused(http: httpx.Client) -> None:
    answer = http.post(PREDICT, json={"rows": [{"distance": 1}, {"distance": -5}]})
    assert answer.status_code == 400
    assert "rows[1].distance" in answer.text
    assert "not a number after encoding (log1p)" in answer.text


def test_a_row_of_an_unknown_record_is_told_so(http: httpx.Client) -> None:
    answer = http.post(PREDICT, json={"rows": [{"flight_id": "nope"}]})
    assert answer.status_code == 400
    document = answer.json()
    assert (document["field"], document["detail"]) == ("rows[0].flight_id", "there is no record 'nope'")


def test_no_rows_have_no_predictions(http: httpx.Client) -> None:
    assert http.post(PREDICT, json={"rows": []}).json()["predictions"] == []


def test_a_chunked_body_reaches_the_same_handler(http: httpx.Client) -> None:
    def parts() -> Iterator[bytes]:
        yield b'{"rows": [{"dist'
        yield b'ance": 3.5}]}'

    answer = http.post(PREDICT, content=parts(), headers={"content-type": "application/json"})
    assert (answer.status_code, len(answer.json()["predictions"])) == (200, 1)


def test_many_rows_as_csv(http: httpx.Client) -> None:
    body = "distance,carrier\n" + "".join(f"{i},UA\n" for i in range(5000))
    answer = http.post(PREDICT, content=body, headers={"content-type": "text/csv", "prefer": "wait"})
    predictions = answer.json()["predictions"]
    assert [p["data"]["distance"] for p in predictions] == list(range(5000))


def test_a_record_is_predicted_by_its_id(http: httpx.Client) -> None:
    answer = http.get("/predict/UA%201", params={"model": "flights"})
    document = answer.json()
    assert answer.status_code == 200
    assert document["record"] == {"flight_id": "UA 1", "distance": 500.5, "carrier": "UA", "tailnum": "N1", "leaves": 1357017300}
    (prediction,) = document["predictions"]
    assert prediction["data"]["distance"] == 500.5
    assert prediction["data"]["carrier"] == "UA"
    assert 0 <= prediction["ages_s"]["flights"] < 3600


@pytest.mark.parametrize("kind, content_type", [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_images_raw_as_form_and_as_base64(http: httpx.Client, kind: str, content_type: str) -> None:
    data = image(kind)
    raw = http.post(PICTURES, content=data, headers={"content-type": content_type}).json()["predictions"]
    form = http.post(PICTURES, files=[("picture", ("a", data)), ("picture", ("b", image(kind, 255)))]).json()["predictions"]
    text = base64.b64encode(data).decode()
    encoded = http.post(PICTURES, json={"rows": [{"picture": text}, {"picture": f"data:{content_type};base64,{text}"}]})
    assert raw[0]["value"] == pytest.approx(0.2, abs=0.005)
    assert [p["value"] for p in form] == pytest.approx([raw[0]["value"], 1.0], abs=0.005)
    assert [p["value"] for p in encoded.json()["predictions"]] == [raw[0]["value"]] * 2


def test_tensors_in_binary(http: httpx.Client) -> None:
    values = np.array([1.5, 2.5], "<f4").tobytes()
    header = json.dumps(
        {"inputs": [{"name": "distance", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": len(values)}}]}
    ).encode()
    headers = {"inference-header-content-length": str(len(header)), "content-type": "application/octet-stream"}
    answer = http.post("/v2/models/flights/infer", content=header + values, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["outputs"][0]["shape"] == [2, 1]


def test_encoded_tensors_pass_through(http: httpx.Client) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 6], "data": [0, 0, 0, 0, 0, 0]}
    answer = http.post("/v2/models/flights/infer", json={"inputs": [tensor], "parameters": {"encoded": True}})
    assert answer.json()["outputs"][0]["data"] == [0.5]


def test_headers_of_the_request_are_kept(http: httpx.Client) -> None:
    answer = http.post(PREDICT, json={"rows": [{"distance": 1}]}, headers={"x-request-id": "mine", "penstock-timeout-ms": "5000"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine")
    bundle = answer.headers["penstock-bundle"]
    assert http.post(PREDICT, json={"rows": [{"distance": 1}]}, headers={"penstock-expect-bundle": bundle}).status_code == 200
    other = {"penstock-expect-bundle": "sha256:" + "0" * 64}
    assert http.post(PREDICT, json={"rows": [{"distance": 1}]}, headers=other).status_code == 412


def test_the_api_is_documented(http: httpx.Client) -> None:
    paths: dict[str, Any] = http.get("/openapi.json").json()["paths"]
    wanted = {"/models/flights/predict", "/predict/{record_id}", "/records", "/records/{record_id}", "/records:import"}
    assert wanted | {"/v1/models/pictures:predict", "/v2/models/flights/infer"} <= paths.keys()
    v1 = paths["/v1/models/flights:predict"]["post"]  # the protocol has a route of this name too, which takes bare numbers
    assert v1["summary"] == "Predict for rows of features (KServe v1)"
    assert http.get("/docs").status_code == 200


def test_requests_of_every_model_are_counted(http: httpx.Client) -> None:
    http.post(PREDICT, json={"rows": [{"distance": 1}]})
    http.post(PICTURES, content=image(), headers={"content-type": "image/png"})
    text = http.get("/metrics").text
    assert 'model="flights"' in text
    assert 'model="pictures"' in text
    samples = [line.partition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == len(set(samples))
