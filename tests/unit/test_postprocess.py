"""Post-processing: every kind, every shape of output a model may have, and numbers that JSON cannot hold."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.dataplane import TensorMetadata
from penstock.errors import Internal, InvalidInput
from penstock.postprocess import Postprocessor
from penstock.tensors import Array


def postprocessor(spec: PostprocessSpec, *outputs: TensorMetadata) -> Postprocessor:
    signature = ModelSignature("model.onnx", (), outputs or (TensorMetadata("p", "FP32", (-1, 2)),))
    return Postprocessor(spec, Manifest("m", "1", signature, spec, {}))


def classify(
    scores: Any, *, shape: tuple[int, ...] = (-1, 2), labels: tuple[str, ...] = ("no", "yes"), **more: Any
) -> list[dict]:
    spec = PostprocessSpec("classification", "p", labels, **more)
    return postprocessor(spec, TensorMetadata("p", "FP32", shape)).apply({"p": np.asarray(scores, np.float32)})


def test_the_greatest_score_names_the_label() -> None:
    assert classify([[0.75, 0.25], [0.25, 0.75]]) == [
        {"label": "no", "scores": {"no": 0.75, "yes": 0.25}},
        {"label": "yes", "scores": {"no": 0.25, "yes": 0.75}},
    ]


def test_a_threshold_moves_the_border_of_two_classes() -> None:
    assert [p["label"] for p in classify([[0.75, 0.25], [0.5, 0.5]], threshold=0.25)] == ["yes", "yes"]
    assert [p["label"] for p in classify([[0.25, 0.75]], threshold=0.8)] == ["no"]


@pytest.mark.parametrize("threshold", [0.35, 0.1, 0.7])
def test_a_score_at_the_threshold_reaches_it(threshold: float) -> None:
    assert classify([[1 - threshold, threshold]], threshold=threshold)[0]["label"] == "yes"
    boolean = postprocessor(PostprocessSpec("boolean", threshold=threshold), TensorMetadata("p", "FP32", (-1,)))
    assert boolean.apply({"p": np.array([threshold], np.float32)}) == [{"value": True}]


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_number_a_row_is_the_second_class(shape: tuple[int, ...]) -> None:
    scores = np.array([0.25, 0.75]).reshape(tuple(2 if axis == -1 else axis for axis in shape))
    assert classify(scores, shape=shape) == [
        {"label": "no", "scores": {"no": 0.75, "yes": 0.25}},
        {"label": "yes", "scores": {"no": 0.25, "yes": 0.75}},
    ]


def test_logits_stay_logits_unless_the_bundle_says() -> None:
    assert classify([[-3.0, 5.0]]) == [{"label": "yes", "scores": {"no": -3.0, "yes": 5.0}}]
    scores = classify([[1000.0, 1000.0]], activation="softmax")[0]["scores"]
    assert scores == {"no": 0.5, "yes": 0.5}
    one = classify([0.0], shape=(-1,), activation="sigmoid")[0]["scores"]
    assert one == {"no": 0.5, "yes": 0.5}
    assert classify([-200.0], shape=(-1,), activation="sigmoid")[0]["scores"] == {"no": 1.0, "yes": pytest.approx(0.0)}
    assert classify([0.0], shape=(-1,), activation="softmax")[0]["scores"] == {"no": 0.5, "yes": 0.5}


def test_labels_are_numbers_when_none_are_given() -> None:
    assert classify([[0.1, 0.2, 0.7]], shape=(-1, 3), labels=())[0]["label"] == "2"
    assert classify([[0.1, 0.2, 0.7]], shape=(-1, -1), labels=())[0]["label"] == "2"
    assert classify([0.9], shape=(-1,), labels=())[0]["label"] == "1"


def test_what_is_not_finite_becomes_null() -> None:
    predictions = classify([[np.nan, 0.5], [np.inf, 0.5], [0.5, 0.75]])
    assert predictions == [
        {"label": None, "scores": {"no": None, "yes": 0.5}},
        {"label": "no", "scores": {"no": None, "yes": 0.5}},
        {"label": "yes", "scores": {"no": 0.5, "yes": 0.75}},
    ]


@pytest.mark.parametrize(
    "classes",
    [
        np.array([0, 1]),
        np.array([[0], [1]]),
        np.array(["no", "yes"], object),
        np.array([b"no", b"yes"], object),
        np.array([False, True]),
    ],
)
def test_a_model_may_answer_with_the_class_itself(classes: Array) -> None:
    predict = postprocessor(PostprocessSpec("classification", labels=("no", "yes")), TensorMetadata("c", "INT64", (-1,)))
    assert predict.apply({"c": classes}) == [{"label": "no"}, {"label": "yes"}]


def test_class_numbers_without_labels_are_their_own_names_and_strange_ones_are_a_fault_of_the_model() -> None:
    output = TensorMetadata("c", "INT64", (-1,))
    assert postprocessor(PostprocessSpec("classification"), output).apply({"c": np.array([7])}) == [{"label": "7"}]
    with pytest.raises(Internal, match="beyond the 2 labels"):
        postprocessor(PostprocessSpec("classification", labels=("a", "b")), output).apply({"c": np.array([2])})


def test_regression_gives_a_number_or_a_list() -> None:
    predict = postprocessor(PostprocessSpec("regression"), TensorMetadata("y", "FP32", (-1, 1)))
    assert predict.apply({"y": np.array([[1.5], [np.nan]], np.float32)}) == [{"value": 1.5}, {"value": None}]
    assert predict.apply({"y": np.array([1, 2], np.int64)}) == [{"value": 1}, {"value": 2}]
    assert predict.apply({"y": np.array([[1.0, np.inf]])}) == [{"value": [1.0, None]}]


def test_boolean_is_a_value_against_a_threshold() -> None:
    predict = postprocessor(PostprocessSpec("boolean", labels=("dry", "wet")), TensorMetadata("p", "FP32", (-1, 1)))
    assert predict.apply({"p": np.array([[0.4], [0.5], [np.nan]], np.float32)}) == [
        {"label": "dry", "value": False},
        {"label": "wet", "value": True},
        {"label": None, "value": None},
    ]
    assert predict.apply({"p": np.array([True, False])}) == [{"label": "wet", "value": True}, {"label": "dry", "value": False}]
    logits = postprocessor(PostprocessSpec("boolean", activation="sigmoid"), TensorMetadata("p", "FP32", (-1,)))
    assert logits.apply({"p": np.array([-0.1, 0.1], np.float32)}) == [{"value": False}, {"value": True}]


def test_raw_hands_over_the_outputs() -> None:
    outputs = (TensorMetadata("a", "FP32", (-1, 2)), TensorMetadata("b", "BYTES", (-1,)), TensorMetadata("c", "FP32", ()))
    arrays_ = {"a": np.array([[1.0, np.nan], [3.0, 4.0]]), "b": np.array([b"x", "y"], object), "c": np.array(7.0)}
    assert postprocessor(PostprocessSpec("raw"), *outputs).apply(arrays_) == [
        {"outputs": {"a": [1.0, None], "b": "x", "c": 7.0}},
        {"outputs": {"a": [3.0, 4.0], "b": "y", "c": 7.0}},
    ]
    assert postprocessor(PostprocessSpec("raw", "b"), *outputs).apply(arrays_)[1] == {"outputs": {"b": "y"}}


def test_no_rows_are_no_predictions() -> None:
    assert classify(np.zeros((0, 2))) == []
    assert postprocessor(PostprocessSpec("raw")).apply({"p": np.zeros((0, 2))}) == []


@pytest.mark.parametrize(
    "spec, field",
    [
        (PostprocessSpec("regression", "q"), "postprocess.from"),
        (PostprocessSpec("regression"), "postprocess.from"),
        (PostprocessSpec("classification", "p", ("a", "b", "c")), "postprocess.labels"),
        (PostprocessSpec("classification", "p", ("a", "a")), "postprocess.labels"),
        (PostprocessSpec("classification", "r", ("a", "b", "c"), threshold=0.5), "postprocess.threshold"),
    ],
)
def test_a_spec_that_does_not_fit_the_model_names_its_field(spec: PostprocessSpec, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        postprocessor(spec, TensorMetadata("p", "FP32", (-1, 2)), TensorMetadata("r", "FP32", (-1, 3)))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "outputs", [{}, {"p": np.float32(1)}, {"p": np.zeros((1, 3), np.float32)}, {"p": np.zeros((1, 2, 2), np.float32)}]
)
def test_a_model_that_breaks_its_signature_is_our_fault(outputs: dict[str, Array]) -> None:
    with pytest.raises(Internal):
        postprocessor(PostprocessSpec("classification", labels=("a", "b"))).apply(outputs)
    if "p" in outputs and np.ndim(outputs["p"]) == 3:
        with pytest.raises(Internal):
            postprocessor(PostprocessSpec("boolean")).apply(outputs)


@given(arrays.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(3))), st.sampled_from([None, "softmax", "sigmoid"]))
def test_any_scores_become_json_row_by_row(scores: Array, activation: Any) -> None:
    together = classify(scores, shape=(-1, 3), labels=("a", "b", "c"), activation=activation)
    assert json.loads(json.dumps(together, allow_nan=False)) == together
    alone = [
        classify(scores[i : i + 1], shape=(-1, 3), labels=("a", "b", "c"), activation=activation)[0] for i in range(len(scores))
    ]
    assert [p["label"] for p in together] == [p["label"] for p in alone]


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(0, 5), st.sampled_from([1, 2]))),
    st.sampled_from([None, "softmax", "sigmoid"]),
    st.sampled_from([None, 0.35]),
)
def test_a_row_has_the_same_prediction_alone_and_beside_rows_that_are_not_finite(
    scores: Array, activation: Any, threshold: Any
) -> None:
    settings = {"shape": (-1, scores.shape[1]), "activation": activation, "threshold": threshold}
    beside = np.concatenate([scores, np.full((1, scores.shape[1]), np.nan, np.float32)])
    assert classify(beside, **settings)[:-1] == classify(scores, **settings)
