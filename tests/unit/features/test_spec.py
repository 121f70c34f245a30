"""features.yaml: what a whole one means, and every mistake refused with the name of its field."""

import math
from typing import Any

import pytest

from penstock.errors import InvalidInput
from penstock.features.document import write_document
from penstock.features.reading import read_spec, write_spec
from penstock.features.spec import Feature, Missing, Step

WHOLE = """
formatVersion: 1
record: {set: flights, key: flight_id}
sets:
  flights:  {view: flights,  keys: {flight_id: flight_id}}
  planes:   {view: planes,   keys: {tailnum: tailnum}, maxAge: 400d}
  weather:  {view: weather,  keys: {origin: origin, hour: hour_utc}, maxAge: 3h}
features:
  - {name: distance, from: request, type: float32, missing: reject, encode: [log1p, {standardise: {mean: 6.5, std: 0.9}}]}
  - {name: carrier, from: request, type: string, missing: {default: "??"}, encode: {oneHot: {categories: [9E, AA], unseen:
    zeros}}}
  - {name: seats, from: planes.seats, type: int64, missing: {default: 149}, maxAge: 1h, encode: {standardise: {mean: 137.0, std:
    71.0}}}
  - {name: temp, from: weather.temp, type: float64, missing: keep}
tensors:
  x: [distance, carrier, seats]
  t: {features: [temp], type: float64, rank: 1}
store:
  project: flights
  keySerialization: 3
  views:
    flights: {keys: {flight_id: string}, values: {}}
    planes: {keys: {tailnum: string}, values: {seats: int64}, ttl: 400d}
    weather: {keys: {origin: string, hour: int64}, values: {temp: double}}
"""


def test_a_whole_spec() -> None:
    spec = read_spec(WHOLE)
    assert spec.features[1] == Feature(
        "carrier",
        None,
        "carrier",
        "string",
        Missing("default", "??"),
        (Step("oneHot", {"categories": ["9E", "AA"], "unseen": "zeros"}),),
    )
    assert spec.sets["planes"].max_age_s == 400 * 86400
    assert spec.features[2].max_age_s == 3600
    assert (spec.features[2].set, spec.features[2].column) == ("planes", "seats")
    assert spec.tensors == {"x": ("distance", "carrier", "seats"), "t": ("temp",)}
    assert (spec.forms["t"].type, spec.forms["t"].rank) == ("float64", 1)
    assert spec.record is not None
    assert spec.record.key == "flight_id"
    assert spec.store is not None
    assert spec.store.views["planes"].ttl_s == 400 * 86400
    assert [feature.name for feature in spec.requested()] == ["distance", "carrier"]
    assert [feature.name for feature in spec.stored("planes")] == ["seats"]


def test_what_is_written_reads_back() -> None:
    spec = read_spec(WHOLE)
    assert read_spec(write_spec(spec)) == spec
    assert write_spec(read_spec(write_spec(spec))) == write_spec(spec)


def document(**changes: Any) -> dict[str, Any]:
    feature = {"name": "f", "from": "request", "type": "float32", "encode": {"standardise": {"mean": 0, "std": 1}}}
    return {"formatVersion": 1, "features": [feature], "tensors": {"x": ["f"]}} | changes


def with_feature(**changes: Any) -> dict[str, Any]:
    base = document()["features"][0] | changes
    return document(features=[{name: value for name, value in base.items() if value is not ...}])


def encoded(encode: Any, feature_type: str = "float32", **changes: Any) -> dict[str, Any]:
    return with_feature(type=feature_type, encode=encode, **changes)


TEXT = {"categories": ["a", "b"]}
MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    (document(formatVersion=2), "formatVersion", "reads up to 1"),
    (document(formatVersion="1"), "formatVersion", "expected an integer"),
    (document(features=[]), "features", "at least one feature"),
    (document(features={}), "features", "expected a list"),
    (document(features=["f"]), "features[0]", "expected a mapping"),
    (document(extra=1), "extra", "unknown field"),
    (document(feature=1), "feature", "did you mean features?"),
    (document(features=document()["features"] * 2), "features[1].name", "'f' is given twice, first as features[0]"),
    (with_feature(name=...), "features[0].name", "is required"),
    (with_feature(name=7), "features[0].name", "expected a name, got 7"),
    (with_feature(name="f__missing"), "features[0].name", "ending in __missing"),
    (with_feature(name="/Sub_1"), "features[0].name", "not beginning with /"),
    (with_feature(name="a\nb"), "features[0].name", "printable"),
    (with_feature(type="float"), "features[0].type", "unknown type 'float'"),
    (with_feature(type="list<image>"), "features[0].type", "unknown type"),
    (with_feature(type="list<float32>"), "features[0].length", "is required"),
    (with_feature(length=3), "features[0].length", "is for lists"),
    (with_feature(**{"from": "plans.seats"}), "features[0].from", "no set is named 'plans'"),
    (with_feature(**{"from": "somewhere"}), "features[0].from", "expected `request` or set.column"),
    (with_feature(maxAge="3h"), "features[0].maxAge", "is for stored features"),
    (with_feature(missing="maybe"), "features[0].missing", "expected reject, keep or {default: value}"),
    (with_feature(missing={"default": "1"}), "features[0].missing.default", "expected a number, got '1'"),
    (with_feature(missing={"default": None}), "features[0].missing.default", "write keep"),
    (with_feature(missing={"defalt": 1}), "features[0].missing", "expected reject, keep"),
    (with_feature(encode="standardize"), "features[0].encode", "did you mean standardise?"),
    (with_feature(encode=["log1p", "nothing"]), "features[0].encode[1]", "unknown encoding 'nothing'"),
    (with_feature(encode=[{"a": 1, "b": 2}]), "features[0].encode[0]", "expected one encoding"),
    (with_feature(encode=7), "features[0].encode", "expected one encoding"),
    (with_feature(encode={"standardise": [1, 2]}), "features[0].encode.standardise", "expected a mapping"),
    (encoded({"standardise": {"mean": 0}}), "features[0].encode.standardise.std", "is required"),
    (encoded({"standardise": {"mean": "0", "std": 1}}), "features[0].encode.standardise.mean", "expected a number, got '0'"),
    (encoded({"standardise": {"mean": True, "std": 1}}), "features[0].encode.standardise.mean", "expected a number, got True"),
    (encoded({"standardise": {"mean": math.nan, "std": 1}}), "features[0].encode.standardise.mean", "finite"),
    (encoded({"standardise": {"mean": 0, "std": 0}}), "features[0].encode.standardise.std", "above 0"),
    (encoded({"standardise": {"mean": 0, "std": 1, "sd": 2}}), "features[0].encode.standardise.sd", "did you mean std?"),
    (encoded(["log1p", {"standardise": {}}]), "features[0].encode[1].standardise.mean", "is required"),
    (encoded("log1p", "string"), "features[0].encode.log1p", "log1p needs numbers, this feature is string here"),
    (encoded({"minMax": {"min": 2, "max": 1}}), "features[0].encode.minMax.max", "expected at least min (2), got 1"),
    (encoded({"minMax": {"min": 0, "max": 1, "range": [1, 0]}}), "features[0].encode.minMax.range", "the lower first"),
    (encoded({"robustScale": {"center": 0, "scale": -1}}), "features[0].encode.robustScale.scale", "above 0"),
    (
        encoded({"robustScale": {"center": 0, "scale": 1, "quantiles": [0.9, 0.1]}}),
        "features[0].encode.robustScale.quantiles",
        "lower first",
    ),
    (encoded({"clip": {}}), "features[0].encode.clip", "expected min, max or both"),
    (encoded({"clip": {"min": 3, "max": 2}}), "features[0].encode.clip.max", "at least min (3)"),
    (encoded({"cast": {"to": "text"}}), "features[0].encode.cast.to", "expected bool, int32, int64, float32 or float64"),
    (encoded({"cast": {"to": "int64"}}, "bool", missing="keep"), "features[0].encode.cast.to", "has no int64"),
    (encoded({"bucketise": {"edges": [1, 1]}}), "features[0].encode.bucketise.edges[1]", "more than the edge before"),
    (encoded({"bucketise": {"edges": []}}), "features[0].encode.bucketise.edges", "at least 1 number"),
    (encoded({"bucketise": {"edges": ["a"]}}), "features[0].encode.bucketise.edges[0]", "expected a finite number"),
    (
        encoded({"oneHot": {"categories": ["a", "a"]}}, "string"),
        "features[0].encode.oneHot.categories[1]",
        "'a' is given twice, first as categories[0]",
    ),
    (encoded({"oneHot": {"categories": [0.1, 0.1 + 1e-12]}}), "features[0].encode.oneHot.categories[1]", "is given twice"),
    (encoded({"oneHot": {"categories": ["a", False]}}, "string"), "features[0].encode.oneHot.categories[1]", "put it in quotes"),
    (
        encoded({"oneHot": {"categories": [1.5]}}, "int64"),
        "features[0].encode.oneHot.categories[0]",
        "expected an integer of type int64",
    ),
    (encoded({"oneHot": {"categories": [2**31]}}, "int32"), "features[0].encode.oneHot.categories[0]", "type int32"),
    (encoded({"oneHot": {"categories": [0]}}, "bool"), "features[0].encode.oneHot.categories[0]", "true or false"),
    (encoded({"oneHot": {"categories": []}}, "string"), "features[0].encode.oneHot.categories", "expected 1 to"),
    (encoded({"oneHot": {}}, "string"), "features[0].encode.oneHot.categories", "is required"),
    (encoded({"oneHot": TEXT | {"unseen": "error"}}, "string"), "features[0].encode.oneHot.unseen", "expected zeros or other"),
    (encoded({"oneHot": TEXT | {"drop": "c"}}, "string"), "features[0].encode.oneHot.drop", "expected one of several categories"),
    (
        encoded({"oneHot": TEXT | {"drop": "a", "unseen": "other"}}, "string"),
        "features[0].encode.oneHot.drop",
        "do not go together",
    ),
    (encoded({"ordinal": TEXT | {"unseen": 0.5}}, "string"), "features[0].encode.ordinal.unseen", "expected an integer"),
    (encoded({"embeddingIndex": {"size": 3}}, "string"), "features[0].encode.embeddingIndex.size", "size is for integer"),
    (encoded({"embeddingIndex": {"categories": [1.0]}}), "features[0].encode.embeddingIndex", "this feature is float32 here"),
    (
        encoded({"targetEncoding": TEXT | {"values": [1], "unseen": 0}}, "string"),
        "features[0].encode.targetEncoding.values",
        "expected 2 numbers",
    ),
    (encoded({"targetEncoding": TEXT | {"values": [1, 2]}}, "string"), "features[0].encode.targetEncoding.unseen", "is required"),
    (encoded({"timestampParts": {"parts": ["hour"]}}), "features[0].encode.timestampParts", "type timestamp"),
    (
        encoded({"timestampParts": {"parts": ["hours"]}}, "timestamp"),
        "features[0].encode.timestampParts.parts[0]",
        "expected year, month",
    ),
    (
        encoded({"timestampParts": {"parts": ["day", "day"]}}, "timestamp"),
        "features[0].encode.timestampParts.parts[1]",
        "given twice",
    ),
    (encoded({"timestampCycles": {"periods": []}}, "timestamp"), "features[0].encode.timestampCycles.periods", "at least one"),
    (encoded({"ratio": {"with": "g"}}), "features[0].encode.ratio.with", "no feature is named 'g'"),
    (encoded({"ratio": {}}), "features[0].encode.ratio.with", "is required"),
    (encoded("passthrough", "image"), "features[0].encode", "needs the encoding image"),
    (encoded({"image": {"resize": [4, 4]}}), "features[0].encode.image", "needs a feature of type image"),
    (encoded({"image": {"resize": [4]}}, "image"), "features[0].encode.image.resize", "expected [height, width]"),
    (encoded({"image": {"resize": [4, 4], "crop": [5, 4]}}, "image"), "features[0].encode.image.crop", "at most resize"),
    (encoded({"image": {"resize": [4, 4], "mean": [0.1]}}, "image"), "features[0].encode.image.mean", "expected 3 numbers"),
    (encoded({"image": {"resize": [4, 4], "std": [0, 1, 1]}}, "image"), "features[0].encode.image.std", "above 0"),
    (encoded({"image": {"resize": [4, 4]}}, "image", missing="keep"), "features[0].missing", "an image cannot be missing"),
    (document(tensors={}), "tensors", "at least one model input"),
    (document(tensors={"x": ["g"]}), "tensors.x[0]", "no feature is named 'g'"),
    (document(tensors={"x": ["f", "f"]}), "tensors.x[1]", "f is given twice"),
    (document(tensors={"x": "f"}), "tensors.x", "expected a list of features' names"),
    (document(tensors={"x": {"features": ["f"], "type": "half"}}), "tensors.x.type", "unknown type 'half'"),
    (document(tensors={"x": {"features": ["f"], "type": "int64"}}), "tensors.x.type", "add a cast step"),
    (document(tensors={"x": {"features": ["f"], "rank": 3}}), "tensors.x.rank", "from 1 to 2"),
    (document(tensors={"x": {"features": ["f"], "shape": 3}}), "tensors.x.shape", "unknown field"),
    (encoded([], "string", missing="keep"), "tensors.x", "cannot stay missing"),
    (document(sets={"a.b": {"view": "v", "keys": {"k": "k"}}}), "sets.a.b", "has no dot"),
    (document(sets={"a": {"view": "v", "keys": {}}}), "sets.a.keys", "at least one join key"),
    (document(sets={"a": {"view": "v", "keys": {"k": 3}}}), "sets.a.keys.k", "expected a name, got 3"),
    (document(sets={"a": {"view": "v", "keys": {"k": "k"}, "maxAge": 3}}), "sets.a.maxAge", "expected a duration"),
    (document(record={"set": "a", "key": "k"}), "record.set", "no set is named 'a'"),
    (
        document(sets={"a": {"view": "v", "keys": {"k": "k"}}}, record={"set": "a", "key": "j"}),
        "record.key",
        "not a join key of a",
    ),
    (document(store={"project": "p", "keySerialization": "3", "views": {}}), "store.keySerialization", "expected an integer"),
]


@pytest.mark.parametrize(("wrong", "field", "said"), MISTAKES, ids=[f"{field}-{said}"[:70] for _, field, said in MISTAKES])
def test_every_mistake_names_its_field(wrong: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_spec(write_document(wrong))
    assert caught.value.field == field
    assert said in caught.value.message


def test_text_and_numbers_do_not_share_a_tensor() -> None:
    features = [*document()["features"], {"name": "g", "from": "request", "type": "string"}]
    with pytest.raises(InvalidInput, match=r"tensors.x: mixes text \(g\) and numbers"):
        read_spec(write_document(document(features=features, tensors={"x": ["f", "g"]})))


def test_an_image_fills_a_tensor_by_itself() -> None:
    image = {"name": "i", "from": "request", "type": "image", "encode": {"image": {"resize": [2, 2]}}}
    with pytest.raises(InvalidInput, match=r"tensors\.x: an image fills a tensor by itself"):
        read_spec(write_document(document(features=[*document()["features"], image], tensors={"x": ["i", "f"]})))


@pytest.mark.parametrize(
    ("old", "new", "field", "said"),
    [
        ("view: planes,", "view: plains,", "sets.planes.view", "'plains' is not in store.views"),
        ("values: {seats: int64}", "values: {places: int64}", "features[2].from", "has no column 'seats'"),
        ("keys: {origin: string, hour: int64}", "keys: {origin: string}", "sets.weather.keys", "expected the join keys origin"),
        ("ttl: 400d", "ttl: 400", "store.views.planes.ttl", "expected a duration"),
    ],
)
def test_a_store_that_lacks_what_the_sets_need_is_refused(old: str, new: str, field: str, said: str) -> None:
    assert old in WHOLE
    with pytest.raises(InvalidInput, match=said) as caught:
        read_spec(WHOLE.replace(old, new))
    assert caught.value.field == field


def test_a_draft_may_leave_out_what_fitting_computes_and_nothing_else() -> None:
    draft = encoded(["log1p", "standardise"])
    assert read_spec(write_document(draft), draft=True).features[0].encode[1] == Step("standardise")
    with pytest.raises(InvalidInput, match="mean: is required"):
        read_spec(write_document(draft))
    with pytest.raises(InvalidInput, match=r"features\[0\].encode.standardise.mena"):
        read_spec(write_document(encoded({"standardise": {"mena": 1}})), draft=True)
    read_spec(write_document(encoded({"targetEncoding": {"categories": ["a", "b"]}}, "string")), draft=True)
    read_spec(write_document(encoded({"embeddingIndex": {"size": 3}}, "int64")), draft=True)
