"""Graphs of lists, held to their numpy definition; what is behind the end of a list is never seen."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.definition import define
from penstock.features.document import write_document
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.features.values import column_of
from penstock.testing.encoding import (
    CATEGORIES,
    DEFAULTS,
    VALUES,
    assert_same_bits,
    encode_spec,
)

LISTS: dict[str, list[Any]] = {
    "float32": ["passthrough", {"standardise": {"mean": 2, "std": 3}}, "log1p"],
    "int64": [
        "passthrough",
        {"embeddingIndex": {"size": 10, "unseen": 0}},
        {"embeddingIndex": {"categories": [3, 1], "unseen": 0}},
    ],
    "string": ["passthrough", {"embeddingIndex": {"categories": ["a", ""], "unseen": 0}}],
    "bool": ["passthrough"],
}


@pytest.mark.parametrize("element", LISTS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_lists_are_padded_alike(element: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(LISTS[element]))
    policy: Any = data.draw(st.sampled_from(["reject", {"default": [DEFAULTS[element]]}]))
    values = st.lists(VALUES[element], max_size=4)
    rows = data.draw(st.lists(values if policy == "reject" else st.one_of(st.none(), values), min_size=1, max_size=6))
    feature = {"name": "f", "from": "request", "type": f"list<{element}>", "length": 4, "missing": policy, "encode": kind}
    spec = read_spec(write_document({"formatVersion": 1, "features": [feature], "tensors": {"x": ["f"]}}))
    encoder = Encoder.compiled(spec)
    columns = {"f": column_of(rows, f"list<{element}>", "f", length=4)}
    got, expected = encoder.encode(columns)["x"], define(encoder.plan, columns)["x"]
    if kind == "log1p":
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    else:
        assert_same_bits(got, expected)


@pytest.mark.parametrize("unseen", ["zeros", "other"])
@pytest.mark.parametrize("element", ["string", "bool", "int32", "int64"])
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_multi_hot_is_exact_and_padding_counts_nowhere(element: str, unseen: str, data: st.DataObject) -> None:
    categories = CATEGORIES[element]
    policy: Any = data.draw(st.sampled_from(["reject", {"default": [categories[-1]]}, {"default": []}]))
    lists = st.lists(st.one_of(st.sampled_from(categories), VALUES[element]), max_size=4)
    rows = data.draw(st.lists(lists if policy == "reject" else st.one_of(st.none(), lists), min_size=1, max_size=6))
    encode = {"multiHot": {"categories": categories, "unseen": unseen}}
    feature = {"name": "f", "from": "request", "type": f"list<{element}>", "length": 4, "missing": policy, "encode": encode}
    assert_same_bits(*encode_spec([feature], ["f"], {"f": column_of(rows, f"list<{element}>", "f", length=4)}))
