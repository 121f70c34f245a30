"""Values of features and outputs as they are taken out of a logged row, and held to the bundle's profile."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.bundle.profile import PROFILE
from penstock.bundle.reading import Bundle
from penstock.features.reading import read_spec
from penstock_transformer.feedback.document import Fetched, LoggedRequest, LoggedRow
from penstock_transformer.feedback.row import LogRow, rows_of
from penstock_transformer.feedback.trigger.bounds import Drift
from penstock_transformer.feedback.trigger.live import Live, value_of

SPEC = """\
formatVersion: 1
record: {set: flights, key: flight_id}
sets:
  flights: {view: flights, keys: {flight_id: flight_id}}
  planes: {view: planes, keys: {tailnum: tailnum}, maxAge: 60s}
features:
- {name: distance, from: request, type: float32, missing: reject, encode: [log1p]}
- {name: leaves, from: request, type: timestamp, missing: {default: 0}, encode: {timestampParts: {parts: [hour]}}}
- {name: seats, from: planes.seats, type: int64, missing: {default: 149}, encode: {standardise: {mean: 100.0, std: 50.0}}}
tensors: {x: [distance, leaves, seats]}
store:
  project: flights
  keySerialization: 3
  views:
    flights: {keys: {flight_id: string}, values: {distance: double, tailnum: string}}
    planes: {keys: {tailnum: string}, values: {seats: int64}}
"""
NUMBER = {"edges": [0.0, 1.0, 2.0], "counts": [500, 500]}
FEATURES = {"distance": NUMBER, "leaves": NUMBER, "seats": {"edges": [0, 100, 200], "counts": [500, 500]}}
PREDICTIONS = {
    "labels": {"values": {"late": 500, "on time": 500}},
    "scores": {"late": {"edges": [0, 0.5, 1], "counts": [500, 500]}},
}


def bundle() -> Bundle:
    manifest = Manifest("flights", "1", ModelSignature("model.onnx", (), (), None), PostprocessSpec("raw"), {})
    profile = json.dumps({"features": FEATURES, "predictions": PREDICTIONS}).encode()
    return Bundle(manifest, "sha256:1", read_spec(SPEC), None, {PROFILE: profile})


def rows(count: int, *, distance: float = 1.5, late: float = 0.9) -> list[LogRow]:
    answer = {"label": "late" if late > 0.5 else "on time", "scores": {"on time": 1 - late, "late": late}}
    fetched = {"planes": Fetched("planes", ["N1"], 990.0, {"seats": 150})}
    one = LoggedRow({"distance": distance, "leaves": 5e8, "tailnum": "N1"}, fetched, answer)
    logged = LoggedRequest("i", 1000.0, "flights", "sha256:1", "flights", "1", 1.0, [one] * count)
    return list(rows_of(logged))


def findings(watch: Any, drift: Drift, given: list[LogRow]) -> dict[str, bool]:
    live = Live(bundle(), drift)
    for row in given:
        live.add(row)
    return {f"{one.kind} {one.name}": one.passed for one in live.findings(watch(drift=drift))}


@pytest.mark.parametrize(
    "drift, expected",
    [
        (Drift(features=0.2), {"feature distance": True, "feature seats": True}),
        (Drift(features=0.6), {"feature distance": False, "feature seats": False}),
        (Drift(features=0.2, ignore=frozenset({"seats"})), {"feature distance": True}),
        (Drift(outputs=0.2), {"output label": True, "output scores.late": True}),
        (Drift(outputs=0.2, ignore=frozenset({"label"})), {"output scores.late": True}),
    ],
)
def test_what_is_held_to_training(watch: Callable[..., Any], drift: Drift, expected: dict[str, bool]) -> None:
    assert findings(watch, drift, rows(1000)) == expected


def test_what_is_like_training_is_held(watch: Callable[..., Any]) -> None:
    given = rows(500, distance=0.5, late=0.2) + rows(500, distance=1.5, late=0.8)
    found = findings(watch, Drift(features=0.2, outputs=0.1, ignore=frozenset({"seats"})), given)
    assert found == {"feature distance": False, "output label": False, "output scores.late": False}


def test_a_value_is_the_row_s_own_else_the_record_s_and_never_one_that_is_too_old() -> None:
    spec = read_spec(SPEC)
    distance, _, seats = spec.features
    record = {"flights": Fetched("flights", ["f1"], 900.0, {"distance": 7.0})}
    assert value_of(distance, spec, {"distance": 3.0}, record, 1000.0) == 3.0
    assert value_of(distance, spec, {"flight_id": "f1"}, record, 1000.0) == 7.0
    assert value_of(distance, spec, {}, {}, 1000.0) is None
    planes = {"planes": Fetched("planes", ["N1"], 940.0, {"seats": 150})}
    assert value_of(seats, spec, {}, planes, 1000.0) == 150
    assert value_of(seats, spec, {}, planes, 1000.1) is None
    assert value_of(seats, spec, {}, {"planes": Fetched("planes", ["N2"], None, {})}, 1000.0) is None
