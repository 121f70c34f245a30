"""Graphs of text and of its words, held to their numpy definition; and that every encoding is held to its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.encodings import ENCODINGS
from penstock.features.values import column_of
from penstock.tensors import Array
from penstock.testing.encoding import (
    VALUES,
    assert_same_bits,
    encode_both,
    encode_spec,
    rows_of,
)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_text_passes_through_unharmed(data: st.DataObject) -> None:
    policy = data.draw(st.sampled_from(["reject", "default"]))
    assert_same_bits(*encode_both("string", policy, "passthrough", rows_of(data, "string", policy)))


WORDS = ["a", "b", "late", "not", "é", "日本", "x_1", "été"]
GAPS = [" ", ", ", "", "-", "\n", " — ", "'"]
pieces = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=12)
phrases = pieces.map(lambda each: "".join(word + gap for word, gap in each))
sentences = st.one_of(phrases, VALUES["string"])
grams = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join), min_size=1, max_size=8, unique=True)


def counted(data: st.DataObject, behind: list[Any]) -> tuple[Array, Array]:
    policy: Any = data.draw(st.sampled_from(["reject", {"default": "not late"}]))
    shortest = data.draw(st.integers(1, 2))
    vocabulary = [gram for gram in data.draw(grams) if len(gram.split()) >= shortest] or ["a b"]
    counts = {"vocabulary": vocabulary, "ngrams": [shortest, 3], "binary": data.draw(st.booleans())}
    texts = data.draw(st.lists(sentences if policy == "reject" else st.one_of(st.none(), sentences), min_size=1, max_size=6))
    idf = {"idf": [1 + index / 3 for index in range(len(vocabulary))]}
    words = {"words": {"minLength": data.draw(st.integers(1, 2))}}
    steps: list[Any] = [words, {"ngramCounts": counts}, *({"tfIdf": step | idf} for step in behind)]
    feature = {"name": "f", "from": "request", "type": "string", "missing": policy, "encode": steps}
    return encode_spec([feature], ["f"], {"f": column_of(texts, "string", "f")})


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_ngram_counts_of_words_are_exact(data: st.DataObject) -> None:
    assert_same_bits(*counted(data, []))


@pytest.mark.parametrize("norm", ["l2", "l1", "none"])
@pytest.mark.parametrize("sublinear", [False, True])
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_tf_idf_is_within_a_millionth(norm: str, sublinear: bool, data: st.DataObject) -> None:
    got, expected = counted(data, [{"norm": norm, "sublinear": sublinear}])
    assert got.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_ngram_counts_of_lists_of_text_are_exact(data: st.DataObject) -> None:
    longest = data.draw(st.integers(1, 2))
    vocabulary = data.draw(st.lists(st.sampled_from(["a", "b c", "late", "NaN", "🛩️"]), min_size=1, unique=True))
    if longest == 2:
        vocabulary = ["a", "b a", "late late"]
    rows = data.draw(st.lists(st.lists(st.sampled_from(["a", "b", "b c", "late", "", "🛩️"]), max_size=4), min_size=1, max_size=5))
    encode = {"ngramCounts": {"vocabulary": vocabulary, "ngrams": [1, longest]}}
    feature = {"name": "f", "from": "request", "type": "list<string>", "length": 4, "encode": encode}
    assert_same_bits(*encode_spec([feature], ["f"], {"f": column_of(rows, "list<string>", "f", length=4)}))


@settings(max_examples=60, deadline=None)
@given(st.lists(sentences, min_size=1, max_size=6))
def test_words_into_columns_are_exact(texts: list[str]) -> None:
    encode = ["words", {"multiHot": {"categories": ["a", "", "été", "late"], "unseen": "other"}}]
    feature = {"name": "f", "from": "request", "type": "string", "encode": encode}
    assert_same_bits(*encode_spec([feature], ["f"], {"f": column_of(texts, "string", "f")}))


def test_every_encoding_is_held_to_its_definition_in_one_of_these_files() -> None:
    files = [*Path(__file__).parent.glob("test_*_graphs.py"), Path(__file__).parent / "test_tokenising.py"]
    tests = "".join(path.read_text() for path in files)
    assert [kind for kind in ENCODINGS if f'"{kind}"' not in tests] == []
