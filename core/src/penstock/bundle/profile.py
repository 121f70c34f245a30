"""profile.json: what features and predictions looked like in training, for later comparison with live traffic.

Numbers get ten bins of equal weight (edges and counts), text and flags their most frequent values. Written by `bundle build` from
example rows; read by whatever looks for drift.
"""

import json
from collections import Counter
from typing import Any

import numpy as np

from penstock.columns import Column
from penstock.evidence.profiles import name_value
from penstock.features.plan import Plan
from penstock.tensors import Array

PROFILE = "profile.json"
FORMAT_VERSION = 1
_BINS = 10
_MOST_FREQUENT = 50


def write_profile(plan: Plan | None, columns: dict[str, Column], predictions: list[dict[str, Any]]) -> bytes:
    """The bytes of profile.json for the columns of example rows and the predictions made of them."""
    features = {}
    for planned in plan.inputs if plan is not None else ():
        name = planned.feature.name
        if not planned.is_list and planned.image is None:
            features[name] = {"type": planned.feature.type} | describe_column(columns[name])
    document = {
        "formatVersion": FORMAT_VERSION,
        "rows": len(predictions),
        "features": features,
        "predictions": _describe_predictions(predictions),
    }
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def describe_column(column: Column) -> dict[str, Any]:
    """One feature's distribution, as JSON values."""
    present = column.values[~column.missing]
    described: dict[str, Any] = {"missing": _rounded(column.missing.mean() if column.missing.size else 0.0)}
    if column.values.dtype.kind in "Ob":
        return described | _describe_values(present.tolist())
    return described | _describe_numbers(present.astype(np.float64))


def _describe_values(values: list[Any]) -> dict[str, Any]:
    counts = Counter(map(name_value, values))
    kept = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_FREQUENT]
    return {"values": dict(kept), "distinct": len(counts)}


def _describe_numbers(values: Array) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"count": 0}
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, _BINS + 1)))
    counts = np.histogram(finite, edges)[0] if len(edges) > 1 else np.array([finite.size])
    return {
        "count": int(finite.size),
        "min": _rounded(finite.min()),
        "max": _rounded(finite.max()),
        "mean": _rounded(finite.mean()),
        "std": _rounded(finite.std()),
        "edges": [_rounded(edge) for edge in edges],
        "counts": counts.tolist(),
    }


def _describe_predictions(predictions: list[dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    labels = [prediction["label"] for prediction in predictions if prediction.get("label") is not None]
    if labels:
        described["labels"] = _describe_values(labels)
    names = dict.fromkeys(name for prediction in predictions for name in prediction.get("scores", {}))
    if names:
        described["scores"] = {name: _describe_numbers(_numbers([p["scores"].get(name) for p in predictions])) for name in names}
    values = [prediction["value"] for prediction in predictions if "value" in prediction]
    if values and all(isinstance(value, bool | None) for value in values):
        described["values"] = _describe_values([value for value in values if value is not None])
    elif values and all(isinstance(value, float | int | None) for value in values):
        described["values"] = _describe_numbers(_numbers(values))
    return described


def _numbers(values: list[Any]) -> Array:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _rounded(number: Any) -> float:
    """Nine digits: enough for any comparison, and the same on every processor."""
    return float(f"{float(number):.9g}")
