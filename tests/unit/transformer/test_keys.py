"""Entity keys: distinct ones, and every row's place among them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock_transformer.keys import entity_keys, key_from_text
from penstock_transformer.store.port import SetColumns

_ODD = [(text, "int64") for text in ("1_000", "+7", "\uff17", "\u0663", "", "9" * 5000, "7\n")]


def answer(keys):
    values = np.array([sum(map(hash, key)) % 1000 for key in keys], np.float64)
    return SetColumns({"v": Column(values, np.zeros(len(keys), bool))}, np.arange(len(keys), dtype=np.float64))


@given(st.lists(st.one_of(st.none(), st.integers(-3, 3)), min_size=1, max_size=12))
def test_single_keys(column):
    keys = entity_keys([column], ("id",), ("int64",))
    assert keys.distinct == list(dict.fromkeys((k,) for k in column if k is not None))
    spread = keys.spread(answer(keys.distinct), {"v": "double"})
    assert spread.columns["v"].missing.tolist() == [k is None for k in column]
    assert np.isnan(spread.event_times).tolist() == [k is None for k in column]
    assert np.isnan(spread.columns["v"].values).tolist() == [k is None for k in column]
    for row, key in enumerate(column):
        if key is not None:
            assert spread.columns["v"].values[row] == hash(key) % 1000


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.one_of(st.none(), st.integers(0, 2))), min_size=1, max_size=12))
def test_composite_keys(rows):
    columns = [list(column) for column in zip(*rows, strict=True)]
    keys = entity_keys(columns, ("a", "b"), ("string", "int64"))
    assert keys.distinct == list(dict.fromkeys(row for row in rows if None not in row))
    spread = keys.spread(answer(keys.distinct), {"v": "double"})
    assert spread.columns["v"].missing.tolist() == [None in row for row in rows]


@pytest.mark.parametrize(
    ("column", "kind", "field"),
    [
        ([1, "x"], "int64", "rows[1].id"),
        ([True], "int64", "rows[0].id"),
        ([1.0], "int64", "rows[0].id"),
        ([None, 2**31], "int32", "rows[1].id"),
        ([-(2**63) - 1], "int64", "rows[0].id"),
        ([b"x"], "string", "rows[0].id"),
        ([["a"]], "string", "rows[0].id"),
        ([{}], "int64", "rows[0].id"),
        (["x"], "list<string>", "id"),
    ],
)
def test_wrong_keys(column, kind, field):
    with pytest.raises(InvalidInput) as caught:
        entity_keys([column], ("id",), (kind,))
    assert caught.value.field == field


def test_keys_from_text():
    assert key_from_text("007", "string", "record") == "007"
    assert key_from_text("-7", "int64", "record") == -7
    for text, kind in [("x", "int64"), ("1.0", "int32"), ("9" * 30, "int64"), (str(2**31), "int32"), ("1", "bool"), *_ODD]:
        with pytest.raises(InvalidInput):
            key_from_text(text, kind, "record")
