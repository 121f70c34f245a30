"""What a body becomes: whatever is accepted is read again by the worker, and asks for the same."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dataplane import ModelMetadata, TensorMetadata
from penstock.errors import InvalidInput, PenstockError, TooLarge
from penstock.features.reading import read_spec
from penstock.protocol.limits import Limits
from penstock.testing.flights import FLIGHTS, PICTURES
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.plan import plan_of
from penstock_transformer.predictions import checking
from penstock_transformer.predictions.resource import Payload
from penstock_transformer.predictions.submission import Body, Intake
from penstock_transformer.requests import PredictRequest
from penstock_transformer.row_source import RowSource
from penstock_transformer.worker.reading import Reader

LIMITS, WAYS = Limits(), WayInLimits(rows=50)
TENSORS = (TensorMetadata("x", "FP32", (-1, 2)), TensorMetadata("n", "INT64", (-1,)))
PLAIN = ModelMetadata("m", ("1",), "penstock_bundle", TENSORS, ())
FEATURES = ModelMetadata("m", ("1",), "penstock_bundle", (), ())
JSON, CSV, NDJSON = b"application/json", b"text/csv", b"application/x-ndjson"
ARROW = b"application/vnd.apache.arrow.stream"

flights = Intake("m", plan_of(read_spec(FLIGHTS)), FEATURES, WAYS, LIMITS)
pictures = Intake("m", plan_of(read_spec(PICTURES)), FEATURES, WAYS, LIMITS)
plain = Intake("m", None, PLAIN, WAYS, LIMITS)


def read_again(payload: Payload) -> Any:
    """As the worker reads the record."""
    headers = (*payload.headers, ("ce_id", b"id"))
    return Reader("m", limits=LIMITS).read(Record(Partition("m.requests", 0), 0, 0, None, payload.body, headers), payload.body)


values = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
rows = st.lists(
    st.dictionaries(st.sampled_from(["distance", "carrier", "stops", "leaves", "tailnum", "else"]), values), max_size=4
)
bodies = st.one_of(
    st.tuples(rows.map(lambda found: json.dumps({"rows": found}).encode()), st.just(JSON), st.just(None)),
    st.tuples(rows.map(lambda found: "\n".join(map(json.dumps, found)).encode()), st.just(NDJSON), st.just(None)),
    st.tuples(st.lists(values.map(str)).map(lambda found: "\n".join(["distance", *found]).encode()), st.just(CSV), st.just(None)),
    st.tuples(st.binary(max_size=60), st.sampled_from([JSON, CSV, NDJSON, b"application/octet-stream", b"a/b"]), st.just(None)),
    st.tuples(st.binary(max_size=60), st.just(JSON), st.sampled_from([b"0", b"10", b"x", b"999999999999999"])),
)


@given(bodies, st.sampled_from([b"", b"data=false", b"labels=a"]), st.sampled_from([flights, plain]))
def test_what_is_accepted_is_read_by_the_worker_and_asks_for_the_same(body: Any, query: bytes, intake: Intake) -> None:
    data, kind, length = body
    try:
        accepted = intake.read(Body(data, kind, length, query))
    except PenstockError:
        return
    request = read_again(accepted.payload)
    assert accepted.payload.nbytes == len(accepted.payload.body or b"")
    if isinstance(request, PredictRequest):
        assert len(request.rows or []) == accepted.rows
        if kind == NDJSON:
            assert json.dumps(request.rows) == json.dumps([json.loads(line) for line in data.splitlines() if line.strip()])


def test_pictures_are_kept_as_base64() -> None:
    accepted = pictures.read(Body(b"\x89PNG", b"image/png"))
    assert read_again(accepted.payload).rows == [{"picture": base64.b64encode(b"\x89PNG").decode()}]


def arrow(**columns: Any) -> bytes:
    """An Arrow stream of these columns, by its own library."""
    import pyarrow as pa

    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return bytes(sink.getvalue())


def test_an_arrow_stream_is_kept_as_rows() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    data = arrow(distance=[1.5, 2.5], carrier=["UA", None], stops=[None, 2], leaves=[noon, None])
    accepted = flights.read(Body(data, ARROW))
    wanted = [
        {"distance": 1.5, "carrier": "UA", "stops": None, "leaves": noon.timestamp()},
        {"distance": 2.5, "carrier": None, "stops": 2, "leaves": None},
    ]
    assert read_again(accepted.payload).rows == wanted
    assert accepted.rows == 2
    # Lists, pictures, and a bundle without features.
    rows = [{"x": [0.0, 1.0], "n": 1}, {"x": [2.0, 3.0], "n": 2}]
    assert read_again(plain.read(Body(arrow(x=[[0.0, 1.0], [2.0, 3.0]], n=[1, 2]), ARROW)).payload).rows == rows
    picture = pictures.read(Body(arrow(picture=[b"\x89PNG"]), ARROW))
    assert read_again(picture.payload).rows == [{"picture": base64.b64encode(b"\x89PNG").decode()}]


@pytest.mark.parametrize(
    "columns, field",
    [({"distance": ["a"]}, "distance"), ({"nonsense": [1]}, "nonsense"), ({"distance": [float("inf")]}, "rows[0].distance")],
)
def test_an_arrow_stream_that_is_wrong_is_refused_with_its_column(columns: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        flights.read(Body(arrow(**columns), ARROW))
    assert caught.value.field == field


@pytest.mark.parametrize("cut", [0, 7, 100, -20])
def test_half_an_arrow_stream_is_refused(cut: int) -> None:
    with pytest.raises(InvalidInput):
        flights.read(Body(arrow(distance=[1.0, 2.0])[:cut], ARROW))


def test_the_options_of_a_query_are_kept() -> None:
    accepted = flights.read(Body(b'{"rows": [{"distance": 1}], "options": {"labels": ["a"]}}', JSON, query=b"data=false"))
    assert read_again(accepted.payload).options == {"labels": ["a"], "data": False}
    assert read_again(flights.read(Body(b"distance\n1\n", CSV, query=b"data=false")).payload).options == {"data": False}


def test_a_bundle_without_features_knows_its_inputs() -> None:
    assert plain.read(Body(b'{"rows": [{"x": [1, 2], "n": 1}]}', JSON)).rows == 1
    tensor = {"name": "x", "datatype": "FP32", "shape": [3, 2], "data": [0] * 6}
    other = {"name": "n", "datatype": "INT64", "shape": [3], "data": [0] * 3}
    assert plain.read(Body(json.dumps({"inputs": [tensor, other]}).encode(), JSON)).rows == 3
    for inputs, field in (
        ([tensor], "inputs"),
        ([tensor, tensor], "inputs[1].name"),
        ([tensor, {**other, "name": "m"}], "inputs[1].name"),
        ([tensor, {**other, "datatype": "INT32"}], "inputs[1].datatype"),
    ):
        with pytest.raises(InvalidInput) as caught:
            plain.read(Body(json.dumps({"inputs": inputs}).encode(), JSON))
        assert caught.value.field == field
    for row, field in (({"x": [1, 2]}, "rows[0].n"), ({"x": [1], "n": 1, "z": 0}, "rows[0].z")):
        with pytest.raises(InvalidInput) as caught:
            plain.read(Body(json.dumps({"rows": [row]}).encode(), JSON))
        assert caught.value.field == field


def test_encoded_tensors_are_the_models_own_and_not_looked_into() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 6], "data": [0] * 6}
    assert flights.read(Body(json.dumps({"inputs": [tensor], "parameters": {"encoded": True}}).encode(), JSON)).rows == 1
    with pytest.raises(InvalidInput, match="encoded"):
        flights.read(Body(json.dumps({"inputs": [tensor], "parameters": {"encoded": "yes"}}).encode(), JSON))


@pytest.mark.parametrize(
    "kind, body",
    [
        (JSON, b'{"rows": [%s]}' % b",".join([b"{}"] * 51)),
        (CSV, b"distance" + b"\n1" * 51),
        (NDJSON, b"{}\n" * 51),
        (ARROW, None),
    ],
)
def test_too_many_rows(kind: bytes, body: bytes | None) -> None:
    with pytest.raises(TooLarge) as caught:
        flights.read(Body(body if body is not None else arrow(distance=[1.0] * 51), kind))
    assert caught.value.field == "rows"


RECORDS = """
formatVersion: 1
record: {set: trips, key: trip}
sets: {trips: {view: trips, keys: {trip: trip}}}
features: [{name: distance, from: request, type: float32, missing: reject}]
tensors: {x: [distance]}
store: {project: p, keySerialization: 3, views: {trips: {keys: {trip: string}, values: {distance: float}}}}
"""


@pytest.mark.parametrize("many", [0, 40])
def test_what_no_record_can_fill_in_is_refused_at_once(many: int) -> None:
    trips = Intake("m", plan_of(read_spec(RECORDS)), FEATURES, WAYS, LIMITS)
    for row in ({"trip": "a"}, {"distance": 1.0}, {"trip": "a", "distance": None}):
        assert trips.read(Body(json.dumps({"rows": [{"trip": "b"}] * many + [row]}).encode(), JSON)).rows == many + 1
    for empty in ({}, {"trip": None}):
        with pytest.raises(InvalidInput, match="missing") as caught:
            trips.read(Body(json.dumps({"rows": [{"trip": "b"}] * many + [empty]}).encode(), JSON))
        assert caught.value.field == f"rows[{many}].distance"


@given(rows)
def test_the_short_look_at_few_rows_refuses_nothing_less_than_the_whole_one(found: list[dict[str, Any]]) -> None:
    plan = plan_of(read_spec(FLIGHTS))
    for row in found:
        row.pop("else", None)
    if found and checking._plainly_fine(found, plan):
        checking._check_values(RowSource([found], [len(found)]), plan)
