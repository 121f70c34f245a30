"""Data frames to columns: training data in the form that the encoder takes, under the same rules as requests."""

from collections.abc import Iterable
from typing import Any

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.parameters import suggest
from penstock.features.plan import FeaturePlan
from penstock.features.values import column_from_array


def columns_of(features: Iterable[FeaturePlan], frame: Any) -> dict[str, Column]:
    """A column a feature from a pandas or polars frame, or any mapping of names to arrays or lists.

    Raises InvalidInput for a column that is not there, and for a value of another type (`rows[i].feature`).
    """
    columns = {}
    names = list(frame.keys()) if hasattr(frame, "keys") else list(frame.columns)
    for planned in features:
        feature = planned.feature
        if feature.name not in names:
            raise InvalidInput(f"the data has no column of this name{suggest(feature.name, map(str, names))}", field=feature.name)
        columns[feature.name] = column_from_array(frame[feature.name], feature.type, feature.name, length=feature.length)
    return columns
