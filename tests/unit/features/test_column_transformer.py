"""What is imported from scikit-learn, held to scikit-learn's own transform on frames that it was and was not fitted on."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from penstock.errors import InvalidInput
from penstock.features.column_transformer import spec_of
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec, write_spec


def training_frame(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    colours = rng.choice(["red", "green", "blue", "", "Ünï"], rows, p=[0.4, 0.3, 0.2, 0.05, 0.05]).astype(object)
    return pd.DataFrame(
        {
            "age": rng.normal(40, 12, rows),
            "pay": rng.lognormal(3, 2, rows),
            "seats": rng.integers(0, 300, rows),
            "colour": colours,
            "size": rng.choice([1, 2, 3], rows),
            "flag": rng.integers(0, 2, rows).astype(bool),
            "constant": np.full(rows, 2.5),
        }
    )


def encode(transformer: ColumnTransformer, frame: pd.DataFrame, fitted_on: pd.DataFrame, tensor_type: str = "float64") -> Any:
    spec = spec_of(transformer, fitted_on, tensor_type=tensor_type)
    assert write_spec(read_spec(write_spec(spec))) == write_spec(spec)
    return Encoder.compiled(spec).encode_frame(frame)["x"]


NUMBERS = ["age", "pay", "seats", "constant"]


@pytest.mark.parametrize(
    ("step", "columns"),
    [
        (StandardScaler(), NUMBERS),
        (StandardScaler(with_mean=False), NUMBERS),
        (StandardScaler(with_std=False), NUMBERS),
        (MinMaxScaler(), NUMBERS),
        (MinMaxScaler(feature_range=(-2, 3), clip=True), NUMBERS),
        (RobustScaler(), NUMBERS),
        (RobustScaler(with_centering=False, quantile_range=(10, 90)), NUMBERS),
        (RobustScaler(with_scaling=False), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore"), ["colour", "size", "flag"]),
        (OneHotEncoder(drop="first", handle_unknown="ignore"), ["colour", "size", "flag"]),
        (OneHotEncoder(drop="if_binary"), ["colour", "size", "flag"]),
        (OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist"), ["colour", "size"]),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["colour", "size", "flag"]),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), ["colour", "size"]),
        (KBinsDiscretizer(5, encode="ordinal", quantile_method="averaged_inverted_cdf"), ["age", "pay", "seats"]),
        (KBinsDiscretizer(4, encode="onehot-dense", strategy="uniform"), ["age", "pay"]),
        (make_pipeline(SimpleImputer(), StandardScaler(), MinMaxScaler()), ["age", "pay"]),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")), ["colour"]),
        ("passthrough", ["age", "size", "flag"]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_import_gives_the_columns_that_scikit_learn_gives(step: Any, columns: list[str]) -> None:
    fitted_on, other = training_frame(), training_frame(200).sample(80, random_state=1).reset_index(drop=True)
    if "colour" in columns and getattr(step, "handle_unknown", "") in ("ignore", "infrequent_if_exist", "use_encoded_value"):
        other.loc[0, "colour"] = "never seen"
    transformer = ColumnTransformer([("step", step, columns)], sparse_threshold=0).fit(fitted_on)
    expected = np.asarray(transformer.transform(other), np.float64)
    got = encode(transformer, other, fitted_on)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_a_whole_transformer_with_gaps_and_remainder() -> None:
    frame = training_frame()
    frame.loc[3:7, "pay"] = np.nan
    frame.loc[5:9, "colour"] = None
    transformer = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), RobustScaler()), ["pay", "age"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["colour"]),
            ("bins", KBinsDiscretizer(3, encode="ordinal", strategy="uniform"), ["seats"]),
            ("nothing", "drop", ["flag"]),
        ],
        remainder="passthrough",
        sparse_threshold=0,
    ).fit(frame)
    expected = np.asarray(transformer.transform(frame), np.float64)
    np.testing.assert_allclose(encode(transformer, frame, frame), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(encode(transformer, frame, frame, "float32"), expected.astype(np.float32), rtol=1e-6, atol=1e-6)


def test_missing_category_of_its_own_stays_its_own() -> None:
    for gap, step in [
        (None, OneHotEncoder(handle_unknown="ignore")),
        (np.nan, OneHotEncoder(handle_unknown="ignore")),
        (None, OrdinalEncoder(encoded_missing_value=-2)),
        (np.nan, OrdinalEncoder(encoded_missing_value=-2)),
        (np.nan, OrdinalEncoder()),
    ]:
        frame = pd.DataFrame({"c": np.array(["b", gap, "a", "b", "zz"], object)})
        transformer = ColumnTransformer([("c", step, ["c"])], sparse_threshold=0).fit(frame)
        np.testing.assert_array_equal(encode(transformer, frame, frame), np.asarray(transformer.transform(frame), np.float64))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=30), st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30))
def test_scalers_agree_on_any_numbers(fitted_on: list[float], others: list[float]) -> None:
    frame, other = pd.DataFrame({"x": fitted_on}), pd.DataFrame({"x": others})
    for step in (StandardScaler(), MinMaxScaler(), RobustScaler()):
        transformer = ColumnTransformer([("x", step, ["x"])]).fit(frame)
        expected = transformer.transform(other)
        # scikit-learn multiplies and adds where the encoding subtracts and divides: what may differ is the rounding of
        # the largest operand.
        scale = max(1.0, np.abs([*fitted_on, *others]).max()) / max(float(np.ptp(frame["x"])), 1e-9)
        np.testing.assert_allclose(encode(transformer, other, frame), expected, rtol=1e-9, atol=1e-9 * max(1.0, scale))


@pytest.mark.parametrize(
    ("step", "columns", "said"),
    [
        (SelectKBest(k=1), ["age", "pay"], "SelectKBest has no counterpart"),
        (make_pipeline(StandardScaler(), SimpleImputer()), ["age"], "age: a SimpleImputer is understood as the first step"),
        (SimpleImputer(add_indicator=True), ["age"], "without add_indicator"),
        (SimpleImputer(missing_values=-1.0), ["age"], "missing_values=-1.0 has no counterpart"),
        (make_pipeline(StandardScaler(), OneHotEncoder()), ["age"], "age: an encoder behind another step"),
    ],
    ids=str,
)
def test_what_has_no_counterpart_is_refused_by_name(step: Any, columns: list[str], said: str) -> None:
    frame = training_frame()
    transformer = ColumnTransformer([("step", step, columns)], sparse_threshold=0).fit(frame, frame["flag"])
    with pytest.raises(InvalidInput, match=said):
        spec_of(transformer, frame)


def test_a_column_used_twice_is_refused() -> None:
    frame = training_frame()
    transformer = ColumnTransformer([("a", StandardScaler(), ["age"]), ("b", MinMaxScaler(), ["age"])]).fit(frame)
    with pytest.raises(InvalidInput, match="age: is used by several transformers"):
        spec_of(transformer, frame)


def test_an_unfitted_transformer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="call fit first"):
        spec_of(ColumnTransformer([("a", StandardScaler(), ["age"])]), training_frame())
