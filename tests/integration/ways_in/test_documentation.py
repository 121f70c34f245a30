"""`/openapi.json` of a real server: what it shows can be sent as it is, and every route is in it."""

import json
from typing import Any

import httpx
import pytest


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()
    return found


def media(document: dict[str, Any], path: str, kind: str = "application/json") -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path]["post"]["requestBody"]["content"][kind]
    return found


def test_it_is_openapi_3_1_with_names_and_answers_for_all(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "default" in operation["responses"], path
            # The framework supposes one of its own, which no route answers.
            own = operation["responses"].get("422", {"content": {"application/problem+json": {}}})
            assert list(own["content"]) == ["application/problem+json"], path
            assert {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"} == {
                part.strip("{}").partition(":")[0] for part in path.split("/") if part.startswith("{")
            }, path


def test_a_row_is_what_the_bundle_says(document: dict[str, Any]) -> None:
    row = media(document, "/models/flights/predict")["schema"]["properties"]["rows"]["items"]
    assert row["additionalProperties"] is False
    assert row["properties"]["stops"]["type"] == ["integer", "null"]
    assert row["properties"]["stops"]["maximum"] == 2**31 - 1
    assert "missing means" in row["properties"]["carrier"]["description"]
    assert "must be given" in row["properties"]["distance"]["description"]
    assert row["anyOf"] == [{"required": ["distance"]}, {"required": ["flight_id"]}]
    picture = media(document, "/models/pictures/predict")["schema"]["properties"]["rows"]["items"]
    assert "image/png" in document["paths"]["/models/pictures/predict"]["post"]["requestBody"]["content"]
    assert "image/png" not in document["paths"]["/models/flights/predict"]["post"]["requestBody"]["content"]
    assert any(part.get("contentEncoding") == "base64" for part in picture["properties"].values())


@pytest.mark.parametrize(
    "path, kind",
    [
        ("/models/flights/predict", "application/json"),
        ("/models/flights/predict", "application/x-ndjson"),
        ("/models/flights/predict", "text/csv"),
        ("/v1/models/flights:predict", "application/json"),
        ("/v2/models/flights/infer", "application/json"),
    ],
)
def test_the_examples_can_be_sent(http: httpx.Client, document: dict[str, Any], path: str, kind: str) -> None:
    example = media(document, path, kind)["example"]
    body = example if isinstance(example, str) else json.dumps(example)
    answer = http.post(path, content=body, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    assert '"error"' not in answer.text


def test_every_route_answers_as_it_is_listed(http: httpx.Client, document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        concrete = path
        for parameter in next(iter(operations.values())).get("parameters", []):
            if parameter["in"] == "path":
                concrete = concrete.replace(f"{{{parameter['name']}}}", parameter.get("example", "UA"))
        answer = http.request("OPTIONS", concrete)
        assert answer.status_code == 405, path
        allowed = {method.lower() for method in answer.headers["allow"].split(", ")} - {"head"}
        assert allowed == set(operations), path


def test_a_models_own_path_takes_no_other_verb(http: httpx.Client) -> None:
    answer = http.get("/v1/models/flights:predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/records?bogus=1", "/records/x?bogus=1", "/predict/x?model=flights&bogus=1"])
def test_a_query_that_nothing_knows_is_refused(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 400
    assert answer.json()["field"].endswith("bogus")


def test_encoded_is_true_or_false(http: httpx.Client) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}
    answer = http.post("/v2/models/flights/infer", json={"parameters": {"encoded": "yes"}, "inputs": [tensor]})
    assert (answer.status_code, answer.json()["error"]) == (400, "parameters.encoded: expected true or false, got 'yes'")
