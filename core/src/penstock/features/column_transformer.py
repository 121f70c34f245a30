"""A fitted scikit-learn ColumnTransformer as a feature spec: the same columns out, in the same order.

    ColumnTransformer (fitted) + data frame -> FeatureSpec, one tensor

Understood, alone or one after the other in a Pipeline: StandardScaler, MinMaxScaler, RobustScaler, OneHotEncoder, OrdinalEncoder,
KBinsDiscretizer, QuantileTransformer, SimpleImputer (first), CountVectorizer, TfidfTransformer, TfidfVectorizer, `passthrough`
and `drop`. Anything else is refused by name, and so is a setting that the spec has no words for.

Two settings change meaning on the way, because a graph cannot refuse a row: `handle_unknown="error"` becomes `unseen: zeros` for
OneHotEncoder and `unseen: .nan` for OrdinalEncoder.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.plan import plan
from penstock.features.spec import Feature, FeatureSpec, Missing, Step, TensorForm
from penstock.features.vectorizers import count_steps, tf_idf_step

_TYPES = {"f4": "float32", "f8": "float64", "i4": "int32", "i8": "int64", "b1": "bool"}


@dataclass(slots=True)
class _Lane:
    """One input column on its way through its transformers."""

    name: str
    type: str
    missing: Missing = field(default_factory=lambda: Missing("keep"))
    steps: list[Step] = field(default_factory=list)


def spec_of(transformer: Any, frame: Any, *, tensor: str = "x", tensor_type: str = "float32") -> FeatureSpec:
    """The spec of a fitted ColumnTransformer. `frame` is (some rows of) the data frame it was fitted on, for the columns' types.

    All features come `from: request`; point them at stored sets afterwards. Raises InvalidInput naming the transformer, column or
    setting that has no counterpart.
    """
    if not hasattr(transformer, "transformers_"):
        raise InvalidInput("expected a fitted ColumnTransformer; call fit first")
    features: list[Feature] = []
    for name, step, columns in transformer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        lanes = [_Lane(column, _type_of(frame[column], column)) for column in _column_names(columns, frame)]
        for stage in _stages(step, name):
            _convert(stage, lanes, name)
        features += [_feature(lane) for lane in lanes]
    _refuse_repeats(features)
    parts = tuple(feature.name for feature in features)
    spec = FeatureSpec(tuple(features), {tensor: parts}, forms={tensor: TensorForm(tensor_type)})
    plan(spec)
    return spec


def _feature(lane: _Lane) -> Feature:
    """Missing values stay what they are in a frame (NaN), unless an imputer said otherwise; integers have none."""
    missing = lane.missing
    if missing.policy == "keep" and lane.type in ("int32", "int64", "bool"):
        missing = Missing("reject")
    return Feature(lane.name, None, lane.name, lane.type, missing, tuple(lane.steps))


def _refuse_repeats(features: list[Feature]) -> None:
    names = [feature.name for feature in features]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput("is used by several transformers; give the frame a copy of the column under another name", field=twice)


def _column_names(columns: Any, frame: Any) -> list[str]:
    names = [str(name) for name in frame.columns]
    if isinstance(columns, slice):
        return names[columns]
    if isinstance(columns, str):
        return [columns]
    array = np.asarray(columns)
    if array.dtype == np.bool_:
        return [name for name, chosen in zip(names, array.tolist(), strict=True) if chosen]
    return [names[column] if isinstance(column, int) else str(column) for column in array.tolist()]


def _type_of(series: Any, name: str) -> str:
    dtype = series.dtype
    code = getattr(dtype, "str", "")[1:]
    if code in _TYPES:
        return _TYPES[code]
    values = [value for value in series.tolist() if isinstance(value, str)]
    if values or str(dtype) in ("string", "category", "str"):
        return "string"
    raise InvalidInput(f"has dtype {dtype}; expected text, numbers or bools", field=name)


def _stages(step: Any, name: str) -> list[Any]:
    if isinstance(step, str):
        return []
    if type(step).__name__ == "Pipeline":
        return [stage for _, each in step.steps for stage in _stages(each, name) if each != "passthrough"]
    if type(step).__name__ == "FunctionTransformer" and step.func is None:
        return []
    return [step]


def _convert(stage: Any, lanes: list[_Lane], name: str) -> None:
    kind = type(stage).__name__
    if kind not in _CONVERTERS:
        raise InvalidInput(f"{kind} has no counterpart; known: {', '.join(_CONVERTERS)}", field=name)
    for index, lane in enumerate(lanes):
        _CONVERTERS[kind](stage, index, lane)


def _number(values: Any, index: int, default: float) -> float:
    return default if values is None else float(values[index])


def _standard(stage: Any, index: int, lane: _Lane) -> None:
    mean = _number(stage.mean_ if stage.with_mean else None, index, 0.0)
    lane.steps.append(Step("standardise", {"mean": mean, "std": _number(stage.scale_ if stage.with_std else None, index, 1.0)}))


def _min_max(stage: Any, index: int, lane: _Lane) -> None:
    low, high = (float(bound) for bound in stage.feature_range)
    first, last = float(stage.data_min_[index]), float(stage.data_max_[index])
    # scikit-learn takes a feature for constant whose span is no more than rounding.
    last = first if last - first < 10 * float(np.finfo(np.float64).eps) else last
    parameters: dict[str, Any] = {"min": first, "max": last, "range": [low, high]}
    lane.steps.append(Step("minMax", parameters | ({"clip": True} if stage.clip else {})))


def _robust(stage: Any, index: int, lane: _Lane) -> None:
    center = _number(stage.center_ if stage.with_centering else None, index, 0.0)
    lane.steps.append(
        Step("robustScale", {"center": center, "scale": _number(stage.scale_ if stage.with_scaling else None, index, 1.0)})
    )


def _one_hot(stage: Any, index: int, lane: _Lane) -> None:
    categories, gap = _categories(stage.categories_[index], lane)
    rare = getattr(stage, "infrequent_categories_", [None] * (index + 1))[index]
    drop = None if stage.drop_idx_ is None else stage.drop_idx_[index]
    if rare is not None and stage.handle_unknown not in ("infrequent_if_exist", "warn"):
        raise InvalidInput('infrequent categories need handle_unknown="infrequent_if_exist"', field=lane.name)
    if drop is not None and (rare is not None or gap):
        raise InvalidInput("drop together with infrequent or missing categories has no counterpart", field=lane.name)
    parameters: dict[str, Any] = {"categories": categories}
    if rare is not None:
        frequent = {_plain(value) for value in rare if not _is_gap(value)}
        parameters["categories"] = [category for category in categories if category not in frequent]
        parameters |= {"unseen": "other", "missing": "other"}
        if gap and not any(_is_gap(value) for value in rare):
            parameters["missing"] = "own"
    elif gap:
        parameters["missing"] = "own"
    if drop is not None:
        parameters["drop"] = categories[int(drop)]
    if len(parameters["categories"]) - (drop is not None) < 1:
        raise InvalidInput("is left with no category", field=lane.name)
    lane.steps.append(Step("oneHot", parameters))


def _ordinal(stage: Any, index: int, lane: _Lane) -> None:
    categories, gap = _categories(stage.categories_[index], lane)
    if getattr(stage, "infrequent_categories_", [None] * (index + 1))[index] is not None:
        raise InvalidInput("infrequent categories of an OrdinalEncoder have no counterpart", field=lane.name)
    unseen = stage.unknown_value if stage.handle_unknown == "use_encoded_value" else np.nan
    parameters: dict[str, Any] = {"categories": categories, "unseen": _code(unseen, lane)}
    if gap:
        # scikit-learn's code for missing values is for NaN; None is a category like any other, the last.
        is_none = any(value is None for value in stage.categories_[index])
        parameters["missing"] = len(categories) if is_none else _code(stage.encoded_missing_value, lane)
    lane.steps.append(Step("ordinal", parameters))


def _code(value: Any, lane: _Lane) -> Any:
    number = float(value)
    if np.isnan(number):
        return float("nan")
    if number != int(number):
        raise InvalidInput(f"expected whole numbers for unknown and missing values, got {number}", field=lane.name)
    return int(number)


def _bins(stage: Any, index: int, lane: _Lane) -> None:
    edges = [float(edge) for edge in stage.bin_edges_[index][1:-1]]
    count = len(edges) + 1
    if stage.encode not in ("ordinal", "onehot", "onehot-dense"):
        raise InvalidInput(f"encode={stage.encode!r} has no counterpart", field=lane.name)
    if not edges:
        raise InvalidInput("has a single bin, which says nothing", field=lane.name)
    lane.steps.append(Step("bucketise", {"edges": edges}))
    if stage.encode.startswith("onehot"):
        lane.steps.append(Step("oneHot", {"categories": list(range(count))}))


def _quantiles(stage: Any, index: int, lane: _Lane) -> None:
    if stage.output_distribution != "uniform":
        raise InvalidInput(
            f"output_distribution={stage.output_distribution!r} has no counterpart; expected uniform", field=lane.name
        )
    quantiles = [float(quantile) for quantile in stage.quantiles_[:, index]]
    if len(quantiles) < 2 or any(quantile != quantile for quantile in quantiles):
        raise InvalidInput("was fitted to too few numbers to have quantiles", field=lane.name)
    lane.steps.append(Step("quantileMap", {"quantiles": quantiles}))


def _count_words(stage: Any, _: int, lane: _Lane) -> None:
    if lane.type != "string" or lane.steps:
        raise InvalidInput("a vectorizer takes a column of text, first", field=lane.name)
    lane.missing = Missing("reject")
    lane.steps += count_steps(stage, lane.name)


def _tf_idf(stage: Any, _: int, lane: _Lane) -> None:
    if not lane.steps or lane.steps[-1].kind != "ngramCounts":
        raise InvalidInput("a TfidfTransformer is understood behind a CountVectorizer", field=lane.name)
    lane.steps.append(tf_idf_step(stage))


def _impute(stage: Any, index: int, lane: _Lane) -> None:
    if lane.steps or stage.add_indicator:
        raise InvalidInput("a SimpleImputer is understood as the first step, without add_indicator", field=lane.name)
    marker = stage.missing_values
    if not _is_gap(marker):
        raise InvalidInput(f"missing_values={marker!r} has no counterpart; expected NaN or None", field=lane.name)
    value = _plain(stage.statistics_[index])
    if _is_gap(value):
        raise InvalidInput("was all missing in training", field=lane.name)
    if lane.type in ("int32", "int64") and isinstance(value, float):
        if not value.is_integer():
            lane.type = "float64"
        else:
            value = int(value)
    lane.missing = Missing("default", value)


def _categories(values: Any, lane: _Lane) -> tuple[list[Any], bool]:
    """The categories without the one that stands for missing values, and whether there was one."""
    plain = [_plain(value) for value in values]
    kept = [value for value in plain if not _is_gap(value)]
    if lane.steps:
        raise InvalidInput("an encoder behind another step has no counterpart", field=lane.name)
    if len(plain) - len(kept) > 1:
        raise InvalidInput("tells None and NaN apart, a spec does not; make them one before fitting", field=lane.name)
    if lane.type == "string" and not all(isinstance(value, str) for value in kept):
        raise InvalidInput("mixes text and other values", field=lane.name)
    return kept, len(kept) < len(plain)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_gap(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


_CONVERTERS: dict[str, Callable[[Any, int, _Lane], None]] = {
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "RobustScaler": _robust,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "KBinsDiscretizer": _bins,
    "QuantileTransformer": _quantiles,
    "SimpleImputer": _impute,
    "CountVectorizer": _count_words,
    "TfidfVectorizer": _count_words,
    "TfidfTransformer": _tf_idf,
}
