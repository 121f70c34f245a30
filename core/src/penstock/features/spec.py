"""The feature spec as values: `features.yaml` after parsing and checking.

Everything here is frozen and complete: a `FeatureSpec` that exists is a valid one (`penstock.features.reading` makes it and names
the field that is wrong). The transformer reads it to know what to fetch, the encoder's compiler to know what to build.
"""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A stored feature set: a Feast feature view and how its entity is found.

    `keys` maps each join key in the store to the request column (or, through the record, the stored column) that holds it.
    """

    name: str
    view: str
    keys: dict[str, str]
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """What a missing or too old value means: refuse the row, put `default` in its place, or keep it missing (NaN)."""

    policy: Literal["reject", "default", "keep"]
    default: Any = None


@dataclass(frozen=True, slots=True)
class Step:
    """One encoding of a feature: `kind` names a module of `penstock.features.encodings`, `parameters` its settings."""

    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Feature:
    """One raw feature. `set` is None for one that the request brings; `column` is its name there or in the set's view.

    `type` is a key of `penstock.columns.FEATURE_DTYPES`, or `list<…>` of one, then `length` is the most elements that a row may
    have. `max_age_s` overrides the set's.
    """

    name: str
    set: str | None
    column: str
    type: str
    missing: Missing
    encode: tuple[Step, ...]
    max_age_s: float | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The set that `GET /predict/{id}` looks up, and the join key that the id is the value of."""

    set: str
    key: str


@dataclass(frozen=True, slots=True)
class ViewLayout:
    """A feature view as Feast's registry describes it: join key types, value types (lower-case Feast names: `int64`,
    `string`, `float`, `double`, `unix_timestamp`, `list<int64>` …), time to live in seconds or None.
    """

    keys: dict[str, str]
    values: dict[str, str]
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """What `bundle build` stamped of Feast's registry, so that the online store can be read without Feast."""

    project: str
    key_serialization: int
    views: dict[str, ViewLayout]


@dataclass(frozen=True, slots=True)
class TensorForm:
    """What a model input asks beyond its features: element `type` (None: float32 if any feature is a float, else the features'
    own), `rank`: 2 for `[rows, width]`, 1 for `[rows]` of a single feature, and `part`: which of a tokenised text's tensors it
    is (None: the one of its own name).
    """

    type: str | None = None
    rank: int = 2
    part: str | None = None


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """A whole `features.yaml`. `tensors` maps each model input to the encoded features concatenated in it, in order; `forms`
    holds the form of those that are not in the usual one.
    """

    features: tuple[Feature, ...]
    tensors: dict[str, tuple[str, ...]]
    sets: dict[str, FeatureSet] = field(default_factory=dict)
    record: Record | None = None
    store: StoreLayout | None = None
    forms: dict[str, TensorForm] = field(default_factory=dict)

    def requested(self) -> tuple[Feature, ...]:
        """The features that callers send with the request, in the spec's order."""
        return tuple(f for f in self.features if f.set is None)

    def stored(self, set_name: str) -> tuple[Feature, ...]:
        """The features fetched from one set, in the spec's order."""
        return tuple(f for f in self.features if f.set == set_name)
