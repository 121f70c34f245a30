"""Candidate labels: a request's rows spread over them and folded again, in both styles; what cannot be judged is refused."""

from typing import Any

import numpy as np
import pytest

from penstock.bundle.manifest import Manifest, ModelSignature
from penstock.bundle.manifest_text import postprocess_fields, read_postprocess
from penstock.dataplane import TensorMetadata
from penstock.errors import Internal, InvalidInput, TooLarge
from penstock.features.document import write_document
from penstock.features.parameters import Parameters
from penstock.features.reading import read_spec
from penstock.features.spec import FeatureSpec
from penstock.zero_shot import ZeroShot

TEXT: dict[str, Any] = {"name": "text", "from": "request", "type": "string"}
CLAIM: dict[str, Any] = {"name": "claim", "from": "request", "type": "string"}


def features(*wanted: dict[str, Any]) -> FeatureSpec:
    listed = [dict(each) for each in wanted]
    return read_spec(
        write_document({"formatVersion": 1, "features": listed, "tensors": {each["name"]: [each["name"]] for each in listed}})
    )


def zero_shot(
    spec: FeatureSpec | None = None, *, shape: tuple[int, ...] = (-1, 2), datatype: str = "FP32", **fields: Any
) -> ZeroShot:
    postprocess = read_postprocess(Parameters({"kind": "zeroShot", "feature": "text"} | fields, "postprocess"))
    output = TensorMetadata("y", datatype, shape)
    manifest = Manifest("m", "1", ModelSignature("model.onnx", (output,), (output,)), postprocess, {})
    return ZeroShot(manifest, features(TEXT) if spec is None else spec)


def pairs(**fields: Any) -> ZeroShot:
    return zero_shot(features(TEXT, CLAIM), shape=(-1, 3), feature="claim", template="It is {}.", entailment=0, **fields)


def test_texts_and_labels_are_rows_side_by_side_and_the_closest_label_wins() -> None:
    made = zero_shot(template="about {}", temperature=0.5)
    asked = made.ask([{"text": "t"}, {"text": "u"}], {"labels": ["a", "b"]})
    assert asked.rows == [{"text": "t"}, {"text": "u"}, {"text": "about a"}, {"text": "about b"}]
    vectors = np.array([[2, 0], [3, 4], [1, 0], [0, 9]], np.float32)
    first, second = asked.predictions({"y": vectors})
    share = 1 / (1 + np.exp(-2.0))
    assert first["label"] == "a"
    assert list(first["scores"]) == ["a", "b"]
    assert first["scores"]["a"] == pytest.approx(share)
    assert list(second["scores"]) == ["b", "a"]
    assert second["scores"]["b"] == pytest.approx(1 / (1 + np.exp((0.6 - 0.8) / 0.5)))


def test_a_label_that_was_asked_before_is_not_run_again() -> None:
    made = zero_shot()
    first = made.ask([{"text": "t"}], {"labels": ["a", "b"]})
    before = first.predictions({"y": np.array([[1, 1], [1, 0], [0, 1]], np.float32)})
    again = made.ask([{"text": "t"}], {"labels": ["b", "c", "a"]})
    assert again.rows == [{"text": "t"}, {"text": "c"}]
    (prediction,) = again.predictions({"y": np.array([[1, 1], [-1, -1]], np.float32)})
    assert list(prediction["scores"]) == ["b", "a", "c"]
    assert prediction["scores"]["a"] / prediction["scores"]["b"] == pytest.approx(
        before[0]["scores"]["a"] / before[0]["scores"]["b"]
    )


def test_so_many_labels_are_remembered_as_fit_into_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.zero_shot._KEPT_BYTES", 2 * 16)
    made = zero_shot()
    for label in ("a", "b", "c"):
        asked = made.ask([{"text": "t"}], {"labels": [label]})
        asked.predictions({"y": np.ones((len(asked.rows), 2), np.float32)})
    assert made.ask([], {"labels": ["a", "b", "c"]}).new == ("a",)


def test_a_label_forgotten_meanwhile_is_still_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.zero_shot._KEPT_BYTES", 16)
    made = zero_shot()
    made.ask([], {"labels": ["a"]}).predictions({"y": np.array([[1, 0]], np.float32)})
    waiting = made.ask([{"text": "t"}], {"labels": ["a"]})
    made.ask([], {"labels": ["b"]}).predictions({"y": np.array([[0, 1]], np.float32)})
    assert waiting.predictions({"y": np.array([[1, 0]], np.float32)}) == [{"label": "a", "scores": {"a": 1.0}}]


LOGITS = np.array([[2, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 5]], np.float32)


def test_pairs_are_every_row_with_every_label_and_fold_by_entailment() -> None:
    asked = pairs().ask([{"text": "t"}, {"text": "u"}], {"labels": ["late", "early"]})
    assert asked.rows == [
        {"text": "t", "claim": "It is late."}, {"text": "t", "claim": "It is early."},
        {"text": "u", "claim": "It is late."}, {"text": "u", "claim": "It is early."},
    ]  # fmt: skip
    first, second = asked.predictions({"y": LOGITS})
    assert first["scores"] == pytest.approx({"late": 1 / (1 + np.exp(-1.0)), "early": 1 / (1 + np.exp(1.0))})
    assert second["scores"] == pytest.approx({"late": 0.5, "early": 0.5})


def test_labels_judged_each_by_itself_need_not_add_up_to_one() -> None:
    asked = pairs(independent=True, contradiction=2).ask([{"text": "t"}, {"text": "u"}], {"labels": ["late", "early"]})
    first, second = asked.predictions({"y": LOGITS})
    assert first["scores"] == pytest.approx({"late": 1 / (1 + np.exp(-2.0)), "early": 1 / (1 + np.exp(-1.0))})
    assert second["scores"]["early"] == pytest.approx(1 / (1 + np.exp(5.0)))
    whole = pairs(independent=True).ask([{"text": "t"}], {"labels": ["late"]})
    assert whole.predictions({"y": LOGITS[:1]})[0]["scores"]["late"] == pytest.approx(np.exp(2) / (np.exp(2) + 2))


def test_what_asking_put_into_pairs_is_not_told_as_data() -> None:
    asked = pairs().ask([{"text": "t"}], {"labels": ["late", "early"]})
    told = [{"data": {"text": "t", "claim": "It is late."}, "truncated": []}, {"data": {}, "truncated": ["text"]}]
    assert asked.own(told) == [{"data": {"text": "t"}, "truncated": ["text"]}]


def test_an_error_about_a_spread_row_names_the_callers_own_row_or_label() -> None:
    similar = zero_shot().ask([{"text": "t"}], {"labels": ["a", "b"]})
    assert similar.restated(TooLarge("no", field="rows[2].text")).field == "options.labels[1]"
    assert similar.restated(InvalidInput("no", field="rows[0].text")).field == "rows[0].text"
    paired = pairs().ask([{"text": "t"}, {"text": "u"}], {"labels": ["a", "b"]})
    restated = paired.restated(TooLarge("no", field="rows[3].text"))
    assert (type(restated), restated.field) == (TooLarge, "rows[1].text")
    assert paired.restated(InvalidInput("no", field="rows[3].claim")).field == "options.labels[1]"
    assert paired.restated(InvalidInput("no", field="record")).field == "record"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "options.labels: expected the labels to choose from"),
        ([], "options.labels: expected a list of labels"),
        ("a", "options.labels: expected a list of labels, got 'a'"),
        (["a", " "], r"options.labels\[1\]: expected text, got ' '"),
        (["a", 5], r"options.labels\[1\]: expected text, got 5"),
        (["a", "b", "a"], r"options.labels\[2\]: 'a' is given twice"),
        (["x" * 1001], r"options.labels\[0\]: expected at most 1000 characters"),
        ([str(n) for n in range(6)], "options.labels: expected at most 5 labels, got 6"),
    ],
)
def test_labels_that_cannot_be_judged_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        zero_shot(maxLabels=5).ask([{"text": "t"}], None if labels is None else {"labels": labels})


def test_a_bundles_own_labels_stand_for_those_that_are_not_named() -> None:
    assert zero_shot(labels=["a", "b"]).ask([{"text": "t"}], {"data": False}).labels == ("a", "b")


def test_pairs_have_a_limit_and_their_label_place_is_not_the_callers() -> None:
    with pytest.raises(TooLarge, match="5001 rows with 2 labels each"):
        pairs().ask([{"text": "t"}] * 5001, {"labels": ["a", "b"]})
    with pytest.raises(InvalidInput, match=r"rows\[0\].claim: the labels go here"):
        pairs().ask([{"text": "t", "claim": "c"}], {"labels": ["a"]})


def test_scores_that_are_not_numbers_are_not_sorted() -> None:
    asked = zero_shot().ask([{"text": "t"}], {"labels": ["a"]})
    assert asked.predictions({"y": np.full((2, 2), np.nan, np.float32)}) == [{"label": None, "scores": {"a": None}}]


def test_a_model_that_breaks_its_word_is_our_fault() -> None:
    asked = zero_shot().ask([{"text": "t"}], {"labels": ["a"]})
    for wrong in ({}, {"y": np.zeros((1, 2))}, {"y": np.zeros((2, 2, 2))}):
        with pytest.raises(Internal):
            asked.predictions(wrong)
    with pytest.raises(Internal, match="3 columns"):
        zero_shot(features(TEXT, CLAIM), shape=(-1, -1), feature="claim", entailment=4).ask(
            [{"text": "t"}], {"labels": ["a"]}
        ).predictions({"y": np.zeros((1, 3))})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"template": "no place"}, "postprocess.template: expected one {}"),
        ({"template": "{} {}"}, "postprocess.template: expected one {}"),
        ({"threshold": 0.5}, "postprocess.threshold: does not go with kind: zeroShot"),
        ({"contradiction": 1}, "postprocess.contradiction: is for models of pairs"),
        ({"independent": True}, "postprocess.independent: is for models of pairs"),
        ({"entailment": 0, "temperature": 1}, "postprocess.temperature: is for embeddings"),
        ({"entailment": 1, "contradiction": 1}, "postprocess.contradiction: expected another column"),
        ({"temperature": 0}, "postprocess.temperature: expected a number above 0"),
        ({"feature": "nobody"}, "postprocess.feature: expected a text that comes with the request, got 'nobody'; there is text"),
        ({"entailment": 2}, "postprocess.entailment: y has 2 columns"),
        ({"shape": (-1, 8, 2)}, "postprocess.from: expected floats .* pool in the model"),
        ({"datatype": "INT64"}, "postprocess.from: expected floats"),
    ],
)
def test_a_postprocess_that_does_not_fit_is_refused_by_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message.replace("{}", r"\{\}")):
        zero_shot(**fields)


def test_features_that_a_label_alone_cannot_fill_are_refused() -> None:
    stars = {"name": "stars", "from": "request", "type": "int64"}
    with pytest.raises(InvalidInput, match="a label is a row of text alone, but the features also need stars"):
        zero_shot(features(TEXT, stars))
    zero_shot(features(TEXT, stars | {"missing": {"default": 3}}))
    plain = zero_shot()
    manifest = Manifest("m", "1", ModelSignature("model.onnx", (), (TensorMetadata("y", "FP32", (-1, 2)),)), _spec(plain), {})
    with pytest.raises(InvalidInput, match="zeroShot needs a features"):
        ZeroShot(manifest, None)


def _spec(made: ZeroShot) -> Any:
    return read_postprocess(Parameters({"kind": "zeroShot", "feature": made.spec.feature}, "postprocess"))


@pytest.mark.parametrize(
    "fields",
    [
        {"template": "about {}", "temperature": 0.1, "labels": ["a"]},
        {"entailment": 0, "contradiction": 2, "independent": True},
        {"entailment": 1, "maxLabels": 7},
    ],
)
def test_what_is_written_reads_back_equal(fields: dict[str, Any]) -> None:
    spec = read_postprocess(Parameters({"kind": "zeroShot", "feature": "text"} | fields, "postprocess"))
    assert read_postprocess(Parameters(postprocess_fields(spec), "postprocess")) == spec
