"""The JSON form of predict, and predict by record id: what reaches the transformer, and what is refused in which words."""

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput, Overloaded
from penstock_transformer.http.json_rows import json_rows


def test_rows_reach_the_transformer_and_the_answer_names_its_bundle(client: Any) -> None:
    exchange = client.post({"rows": [{"distance": 1.5}, {"distance": None}]}, x_request_id="mine", penstock_route_key="k")
    assert exchange.status == 200
    assert exchange.answered == {
        "model": "flights",
        "bundle": "flights@sha256:" + "0" * 64,
        "predictions": [{"value": 0}, {"value": 1}],
    }
    assert exchange.served == ("flights", exchange.answered["bundle"])
    request = client.transformer.requests[0]
    assert request.rows == [{"distance": 1.5}, {"distance": None}]
    assert (request.context.request_id, request.context.route_key) == ("mine", "k")


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "application/json; charset=utf-8", "Application/JSON", "application/x-www-form-urlencoded"],
)
def test_json_is_read_under_the_names_that_clients_give_it(client: Any, content_type: str | None) -> None:
    assert client.post({"rows": []}, content_type).status == 200


def test_options_travel_with_the_request(client: Any) -> None:
    assert client.post({"rows": [{}], "options": {"data": False}}).status == 200
    assert client.transformer.requests[0].options == {"data": False}


@pytest.mark.parametrize(
    "body, field, words",
    [
        ("", "body", "empty body"),
        ("  ", "body", "empty body"),
        ("{", "body", "expected JSON"),
        ('{"rows": [}', "body", "expected JSON"),
        ('{"rows": [{"a": NaN}]}', "body", "JSON has no NaN"),
        ('{"rows": [{"a": "\\ud83d"}]}', "body", "half of a surrogate pair"),
        ('{"rows": []} x', "body", "expected JSON"),
        ("[]", "body", "expected object, got array"),
        ("3", "body", "expected object, got int"),
        ("{}", "rows", "missing"),
        ('{"row": []}', "row", "unknown field"),
        ('{"rows": {}}', "rows", "expected array, got object"),
        ('{"rows": null}', "rows", "expected array, got null"),
        ('{"rows": [{}, 3]}', "rows[1]", "expected object, got int"),
        ('{"rows": [], "options": []}', "options", "expected object"),
        ('{"rows": [], "options": {"x": 1}}', "options.x", "unknown option; expected one of data, labels"),
        ('{"rows": [], "options": {"label": []}}', "options.label", "unknown option; did you mean labels?"),
        ('{"rows": [], "options": {"data": 1}}', "options.data", "expected true or false"),
        ('{"rows": [], "options": {"labels": ["a", 1]}}', "options.labels[1]", "expected a string"),
        (b'{"rows": [{"a": "\xff"}]}', "body", "UTF-8"),
        ('{"rows": [{"a": ' + "[" * 100_000, "body", "nested"),
        ('{"rows": [{"a": 1e999}]}', "rows[0].a", "out of range"),
        ('{"rows": [{"a": 1}, {"a": ' + "9" * 5000 + "}]}", "rows[1].a", "out of range"),
        ('{"rows": [{"a": 1e999, "b": "' + "x" * (1 << 17) + '"}]}', "rows[0]", "out of range"),
    ],
)
def test_a_wrong_body_is_a_400_that_says_where(client: Any, body: Any, field: str | None, words: str) -> None:
    exchange = client.post(body)
    assert exchange.status == 400
    assert exchange.answered.get("field") == field
    assert words in exchange.answered["detail"]
    assert client.transformer.requests == []


def test_more_rows_than_allowed_are_a_413(small_client: Any) -> None:
    exchange = small_client.post({"rows": [{}] * 4})
    assert (exchange.status, exchange.answered["field"]) == (413, "rows")


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/vnd.apache.arrow.stream", "text/plain", "\u20ac;"])
def test_another_content_type_is_a_415_that_names_what_is_read(client: Any, content_type: str) -> None:
    exchange = client.post(b"x", content_type)
    assert (exchange.status, exchange.answered["field"]) == (415, "Content-Type")
    assert "text/csv" in exchange.answered["detail"]


def test_a_compressed_body_is_a_415(client: Any) -> None:
    assert client.post({"rows": []}, content_encoding="gzip").status == 415


def test_errors_of_the_transformer_become_the_answer(client: Any) -> None:
    client.transformer.error = InvalidInput('expected a number, got "x"', field="rows[0].distance")
    exchange = client.post({"rows": [{"distance": "x"}]})
    assert (exchange.status, exchange.answered["field"], exchange.served) == (400, "rows[0].distance", ("flights", ""))
    client.transformer.error = Overloaded("full", retry_after_s=2.0)
    assert client.post({"rows": [{}]}).status == 429


def test_an_unknown_model_is_a_404_and_no_label_of_a_metric(client: Any) -> None:
    for content_type in ("application/json", "text/csv"):
        exchange = client.send("POST", "/models/nobody/predict", '{"rows": []}', content_type)
        assert (exchange.status, exchange.served) == (404, None)


def test_a_wrong_header_is_named(client: Any) -> None:
    exchange = client.post({"rows": []}, penstock_timeout_ms="soon")
    assert (exchange.status, exchange.answered["field"]) == (400, "Penstock-Timeout-Ms")


@pytest.mark.parametrize(
    "value, written",
    [
        (float("nan"), None),
        (np.float32(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        (b"abc", "<3 bytes>"),
        (2**70, float(2**70)),
        ("\ud800", "?"),
        ([{"\ud800": 10**400}], [{"?": None}]),
    ],
)
def test_whatever_a_prediction_holds_is_written_as_json(client: Any, value: Any, written: Any) -> None:
    client.transformer.prediction = {"data": value}
    exchange = client.post({"rows": [{}]})
    assert exchange.answered["predictions"][0]["data"] == written


def test_what_is_no_json_at_all_is_our_fault_and_still_an_answer(client: Any) -> None:
    client.transformer.prediction = {"data": object()}
    exchange = client.post({"rows": [{}]})
    assert exchange.status == 500
    assert "object" not in exchange.answered["detail"]


def test_a_record_id_is_decoded_and_answered_with_its_record(client: Any) -> None:
    exchange = client.send("GET", "/predict/UA%20153%2F2013", query="data=false")
    assert exchange.status == 200
    assert exchange.answered["record"] == {"flight_id": "UA 153/2013"}
    assert len(exchange.answered["predictions"]) == 1
    request = client.transformer.requests[0]
    assert (request.record_id, request.rows, request.options) == ("UA 153/2013", None, {"data": False})


@pytest.mark.parametrize(
    "query, status, field",
    [("", 400, "model"), ("model=delays", 200, None), ("model=nobody", 404, "model"), ("model=delays&x=1", 400, "options.x")],
)
def test_with_several_models_the_query_says_which(two_models: Any, query: str, status: int, field: str | None) -> None:
    exchange = two_models.send("GET", "/predict/1", query=query)
    assert (exchange.status, exchange.answered.get("field")) == (status, field)
    if status == 200:
        assert two_models.transformer.requests[0].model == "delays"


def test_an_option_in_a_query_is_typed(client: Any) -> None:
    exchange = client.send("GET", "/predict/1", query="data=perhaps")
    assert (exchange.status, exchange.answered["field"]) == (400, "options.data")


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.booleans() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
)
def test_any_body_is_rows_or_invalid_input(body: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps({"rows": body}).encode()
    with contextlib.suppress(InvalidInput):
        rows, _ = json_rows(raw, most_rows=100)
        assert all(isinstance(row, dict) for row in rows)


def test_labels_are_a_list_in_options_or_one_a_parameter_in_the_query(client: Any) -> None:
    row = b'{"rows": [{"distance": 1}], "options": {"labels": ["a", "b"]}}'
    assert client.post(row).status == 200
    assert client.transformer.requests[-1].options == {"labels": ["a", "b"]}
    query = "labels=on%20time&labels=sp%C3%A4t,%20sehr&data=false"
    assert client.post("distance\n1\n", "text/csv", query=query).status == 200
    assert client.transformer.requests[-1].options == {"labels": ["on time", "spät, sehr"], "data": False}
    refused = client.post(b'{"rows": [], "options": {"labels": "a"}}')
    assert (refused.status, refused.answered["field"]) == (400, "options.labels")
    assert refused.answered["detail"] == "expected a list of labels, got str"
