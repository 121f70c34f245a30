"""What is imported of scikit-learn's transformers of texts, lists and quantiles, held to scikit-learn's own transform."""

import re
import unicodedata
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer, QuantileTransformer

from penstock.errors import InvalidInput
from penstock.features.column_transformer import spec_of
from penstock.features.encoder import Encoder
from penstock.features.encodings.words import Words
from penstock.features.reading import read_spec, write_spec
from penstock.features.spec import Feature, FeatureSpec, Missing
from penstock.features.vectorizers import multi_hot_step

TEXTS = [
    "The flight was not late, it was cancelled.",
    "late LATE late: very very late",
    "Die Straße ist gesperrt, 20 Züge fallen aus",
    "x y z",
    "",
    "naïve café_society ΟΔΟΣ, İstanbul",
    "日本語 の テキスト",
    "not late",
]
OTHERS = [*TEXTS, "never seen words", "not late not late", "a\x00b late", "straße straße"]


def encode(step: Any, fitted_on: list[str], texts: list[str], columns: Any = "text") -> tuple[Any, Any]:
    """(ours, scikit-learn's) of texts, by a transformer of texts."""
    frame, other = pd.DataFrame({"text": fitted_on}), pd.DataFrame({"text": texts})
    transformer = ColumnTransformer([("text", step, columns)], sparse_threshold=0).fit(frame)
    spec = spec_of(transformer, frame, tensor_type="float64")
    assert write_spec(read_spec(write_spec(spec))) == write_spec(spec)
    return Encoder.compiled(spec).encode_frame(other)["x"], np.asarray(transformer.transform(other), np.float64)


@pytest.mark.parametrize(
    "step",
    [
        CountVectorizer(),
        CountVectorizer(ngram_range=(1, 2)),
        CountVectorizer(ngram_range=(2, 3), binary=True),
        CountVectorizer(lowercase=False, token_pattern=r"(?u)\b\w+\b"),
        CountVectorizer(max_features=5, min_df=1),
        CountVectorizer(stop_words=["the", "late"]),
        CountVectorizer(vocabulary=["late", "not", "unheard"]),
    ],
    ids=str,
)
def test_counts_are_those_of_scikit_learn(step: Any) -> None:
    got, expected = encode(step, TEXTS, OTHERS)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "step",
    [
        TfidfVectorizer(),
        TfidfVectorizer(norm=None, smooth_idf=False),
        TfidfVectorizer(norm="l1", sublinear_tf=True, ngram_range=(1, 2)),
        TfidfVectorizer(use_idf=False),
        make_pipeline(CountVectorizer(), TfidfTransformer()),
    ],
    ids=str,
)
def test_weighed_counts_are_those_of_scikit_learn(step: Any) -> None:
    got, expected = encode(step, TEXTS, OTHERS)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=6))
def test_any_text_is_counted_alike(texts: list[str]) -> None:
    got, expected = encode(CountVectorizer(ngram_range=(1, 2)), [*TEXTS, "filler words here"], texts)
    np.testing.assert_array_equal(got, expected)


def test_a_words_characters_are_the_categories_that_are_documented() -> None:
    characters = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    documented = {c for c in characters if c == "_" or unicodedata.category(c)[0] in "LN"}
    assert set(re.findall(r"\w", "".join(characters))) == documented
    assert Words(True, 2, 100).split("An ÉTÉ, x_1 a") == ["an", "été", "x_1"]


def test_lists_are_the_columns_of_a_binarizer() -> None:
    fitted_on = [["wifi", "pool"], ["pool"], [], ["bar", "wifi"]]
    others = [["bar"], [], ["pool", "pool", "sauna"], ["wifi", "bar", "pool"]]
    binarizer = MultiLabelBinarizer().fit(fitted_on)
    feature = Feature("f", None, "f", "list<string>", Missing("reject"), (multi_hot_step(binarizer),), length=8)
    encoder = Encoder.compiled(FeatureSpec((feature,), {"x": ("f",)}))
    with pytest.warns(UserWarning, match="sauna"):
        expected = binarizer.transform(others)
    np.testing.assert_array_equal(encoder.encode_frame({"f": others})["x"], expected)
    numbers = MultiLabelBinarizer().fit([[3, 1], [2]])
    assert multi_hot_step(numbers).parameters == {"categories": [1, 2, 3]}


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 5.0])), min_size=2, max_size=40),
    st.lists(st.floats(-2e6, 2e6), min_size=1, max_size=20),
    st.integers(2, 12),
)
def test_quantiles_are_mapped_as_scikit_learn_maps_them(fitted_on: list[float], others: list[float], count: int) -> None:
    frame = pd.DataFrame({"x": fitted_on})
    step = QuantileTransformer(n_quantiles=min(count, len(fitted_on)))
    transformer = ColumnTransformer([("x", step, ["x"])]).fit(frame)
    other = pd.DataFrame({"x": [*others, *fitted_on]})
    spec = spec_of(transformer, frame, tensor_type="float64")
    got = Encoder.compiled(spec).encode_frame(other)["x"]
    np.testing.assert_allclose(got, transformer.transform(other), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("step", "columns", "said"),
    [
        (CountVectorizer(analyzer="char"), "text", "text: analyzer='char' has no counterpart"),
        (CountVectorizer(strip_accents="unicode"), "text", "text: strip_accents has no counterpart"),
        (CountVectorizer(tokenizer=str.split, token_pattern=None), "text", "text: tokenizer has no counterpart"),
        (CountVectorizer(token_pattern="[a-z]+"), "text", r"token_pattern='\[a-z\]\+' has no counterpart"),
        (CountVectorizer(stop_words=["the"], ngram_range=(1, 2)), "text", "stop words have no counterpart"),
        (QuantileTransformer(output_distribution="normal", n_quantiles=5), ["number"], "='normal' has no counterpart"),
        (TfidfTransformer(), ["number"], "number: a TfidfTransformer is understood behind a CountVectorizer"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_without_a_counterpart_are_refused_by_name(step: Any, columns: Any, said: str) -> None:
    frame = pd.DataFrame({"text": TEXTS, "number": np.arange(len(TEXTS), dtype=float)})
    transformer = ColumnTransformer([("step", step, columns)], sparse_threshold=0).fit(frame)
    with pytest.raises(InvalidInput, match=said):
        spec_of(transformer, frame)
