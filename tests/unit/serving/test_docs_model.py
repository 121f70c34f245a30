"""What a bundle says of its requests: schemas and examples."""

import asyncio

from penstock.bundle.golden import Golden
from penstock.dataplane import ModelMetadata, TensorMetadata
from penstock.features.spec import Feature, FeatureSpec, Missing
from penstock.serving.docs_model import ModelDocs, model_docs
from penstock.testing.plane import EchoPlane


def test_a_plain_model_shows_its_inputs() -> None:
    docs = ModelDocs(
        ModelMetadata("m", ("1",), "p", (TensorMetadata("x", "FP32", (-1, 2)), TensorMetadata("t", "BYTES", (-1,))), ())
    )
    schema = docs.row_schema()
    assert schema["required"] == ["x", "t"]
    assert schema["properties"]["x"] == {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    assert docs.rows() == [{"x": [0.0, 0.0], "t": ""}]
    # In tensors, protocol v1's among them, null is NaN; in a row it is a value that is missing.
    element = {"type": ["number", "null"]}
    assert docs.instance_schema()["properties"]["x"] == {"type": "array", "items": element, "minItems": 2, "maxItems": 2}
    alone = ModelDocs(ModelMetadata("m", ("1",), "p", (TensorMetadata("x", "FP32", (-1,)),), ()))
    assert alone.instance_schema()["anyOf"][0] == element
    assert docs.infer_example()["inputs"][0] == {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.0, 0.0]}


def test_features_say_type_range_and_what_missing_means() -> None:
    features = (
        Feature("age", None, "age", "int32", Missing("reject"), ()),
        Feature("when", None, "when", "timestamp", Missing("keep"), ()),
        Feature("kind", None, "kind", "string", Missing("default", "a"), ()),
        Feature("tags", None, "tags", "list<string>", Missing("default", []), (), length=3),
    )
    profile = {
        "features": {
            "age": {"min": 1, "max": 90},
            "when": {"min": 0, "max": 86400},
            "kind": {"values": {"a": 3, "b": 1}, "distinct": 2},
        }
    }
    inputs = tuple(TensorMetadata(name, kind, (-1,)) for name, kind in (("age", "INT32"), ("when", "FP64"), ("kind", "BYTES")))
    golden = [Golden(1, {"age": 7, "when": "1970-01-02T00:00:00Z", "kind": "b"}, None, {}, {}, None)]
    spec = FeatureSpec(features, {"x": ("age",)})
    docs = ModelDocs(ModelMetadata("m", ("1",), "p", inputs, ()), spec, golden, profile, "classification", ("no", "yes"))
    schema = docs.row_schema()
    said = {name: part["description"] for name, part in schema["properties"].items()}
    assert said == {
        "age": "from 1 to 90 in training; must be given",
        "when": "from 1970-01-01 to 1970-01-02 in training; may be missing",
        "kind": "in training a, b; missing means 'a'",
        "tags": "missing means []",
    }
    assert schema["required"] == ["age"]
    assert schema["properties"]["tags"]["maxItems"] == 3
    assert docs.rows() == [{"age": 7, "when": "1970-01-02T00:00:00Z", "kind": "b"}]
    assert [one["data"] for one in docs.infer_example()["inputs"]] == [[7], [86400.0], ["b"]]
    assert docs.prediction_schema()["properties"]["label"]["enum"] == ["no", "yes", None]


def test_files_that_are_not_there_or_broken_leave_the_signature() -> None:
    for files in ({}, {"bundle.yaml": b"{", "features.yaml": b"- 1", "golden.jsonl": b"x"}):
        docs = asyncio.run(described(files))
        assert (docs.metadata.name, docs.spec, docs.golden) == ("echo", None, [])


async def described(files: dict[str, bytes]) -> ModelDocs:
    return await model_docs(EchoPlane(files=files), "echo")
