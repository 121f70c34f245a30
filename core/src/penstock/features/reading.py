"""features.yaml to a `FeatureSpec`, and back: every mistake is refused with the name of the field.

Reading has two halves: the form of each field here, and in `penstock.features.plan` whether the encodings fit each other. A spec
that was read is one that compiles. `write_spec` is re-exported so that both directions are found in one place.
"""

from typing import Any

from penstock.errors import InvalidInput
from penstock.features.document import read_document
from penstock.features.durations import read_duration
from penstock.features.encodings import ENCODINGS
from penstock.features.encodings.tokenise import PARTS
from penstock.features.parameters import Parameters, describe, one_of, suggest
from penstock.features.plan import SUFFIXES, element_type, plan
from penstock.features.spec import (
    Feature,
    FeatureSet,
    FeatureSpec,
    Missing,
    Record,
    Step,
    StoreLayout,
    TensorForm,
    ViewLayout,
)
from penstock.features.values import column_of
from penstock.features.writing import write_spec

__all__ = ["read_spec", "write_spec"]

FORMAT_VERSION = 1
_MAX_LENGTH = 65_536


def read_spec(text: str | bytes, *, draft: bool = False) -> FeatureSpec:
    """The spec that a features.yaml holds. A draft may leave out what `fit` computes. Raises InvalidInput naming the field."""
    p = Parameters(read_document(text, "features.yaml"), "")
    read_format_version(p, FORMAT_VERSION)
    sets = _read_sets(p)
    features = tuple(p.each("features", lambda each: _read_feature(each, sets)))
    if not features:
        raise InvalidInput("expected at least one feature", field="features")
    _refuse_doubles(features)
    tensors, forms = _read_tensors(p)
    record = _read_record(p.mapping("record"), sets) if p.has("record") else None
    store = _read_store(p.mapping("store")) if p.has("store") else None
    p.done()
    spec = FeatureSpec(features, tensors, sets, record, store, forms)
    if store is not None:
        _check_store(spec, store)
    plan(spec, draft=draft)
    return spec


def read_format_version(p: Parameters, newest: int) -> int:
    """`formatVersion`, which is this one or an older. Raises InvalidInput for a newer one."""
    version = p.integer("formatVersion", least=1)
    if version > newest:
        raise InvalidInput(f"is {version}, this release reads up to {newest}; use a newer Penstock", field="formatVersion")
    return version


def _refuse_doubles(features: tuple[Feature, ...]) -> None:
    first: dict[str, int] = {}
    for index, feature in enumerate(features):
        field = f"features[{index}].name"
        if feature.name in first:
            raise InvalidInput(f"{feature.name!r} is given twice, first as features[{first[feature.name]}]", field=field)
        first[feature.name] = index


def _read_sets(p: Parameters) -> dict[str, FeatureSet]:
    sets = {}
    listing = p.mapping("sets", {})
    for name in listing.values:
        each = listing.mapping(name)
        if "." in name or name == "request":
            raise InvalidInput("a set's name has no dot and is not `request`", field=each.path)
        keys = _texts(each.mapping("keys"))
        if not keys:
            raise InvalidInput("expected at least one join key", field=each.field("keys"))
        max_age_s = read_duration(each.any("maxAge"), each.field("maxAge")) if each.has("maxAge") else None
        sets[name] = FeatureSet(name, each.text("view"), keys, max_age_s)
        each.done()
    return sets


def _texts(p: Parameters) -> dict[str, str]:
    return {name: p.text(name) for name in p.values}


def _read_feature(p: Parameters, sets: dict[str, FeatureSet]) -> Feature:
    name = p.text("name")
    reserved = name.endswith(SUFFIXES) or name.startswith("/")
    if reserved or len(name) > 200 or not name.isprintable():
        raise InvalidInput(
            f"expected at most 200 printable characters, not beginning with / or ending in {one_of(SUFFIXES)}",
            field=p.field("name"),
        )
    set_name, column = _read_source(p, name, sets)
    feature_type = p.text("type")
    try:
        element_type(feature_type)
    except InvalidInput as error:
        raise InvalidInput(error.message + suggest(feature_type, ["string", "int64", "float32"]), field=p.field("type")) from None
    length = p.integer("length", least=1, most=_MAX_LENGTH) if feature_type.startswith("list<") else None
    if length is None and p.has("length"):
        raise InvalidInput("is for lists", field=p.field("length"))
    max_age_s = read_duration(p.any("maxAge"), p.field("maxAge")) if p.has("maxAge") else None
    if max_age_s is not None and set_name is None:
        raise InvalidInput("is for stored features; this one comes with the request", field=p.field("maxAge"))
    missing = _read_missing(p, feature_type, length)
    feature = Feature(name, set_name, column, feature_type, missing, _read_steps(p), max_age_s, length)
    p.done()
    return feature


def _read_source(p: Parameters, name: str, sets: dict[str, FeatureSet]) -> tuple[str | None, str]:
    source = p.text("from")
    if source == "request":
        return None, name
    set_name, dot, column = source.partition(".")
    if not dot or not column:
        raise InvalidInput(f"expected `request` or set.column, got {describe(source)}", field=p.field("from"))
    if set_name not in sets:
        raise InvalidInput(f"no set is named {set_name!r}{suggest(set_name, sets)}", field=p.field("from"))
    return set_name, column


def _read_missing(p: Parameters, feature_type: str, length: int | None) -> Missing:
    value = p.any("missing", "reject")
    field = p.field("missing")
    if value == "reject":
        return Missing("reject")
    if feature_type == "image":
        raise InvalidInput("an image cannot be missing; expected reject", field=field)
    if value == "keep":
        if length is not None:
            raise InvalidInput("a list cannot stay missing; expected reject, or a default such as []", field=field)
        return Missing("keep")
    if not isinstance(value, dict) or set(value) != {"default"}:
        raise InvalidInput(f"expected reject, keep or {{default: value}}, got {describe(value)}", field=field)
    try:
        column = column_of([value["default"]], feature_type, "default", length=length)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=f"{field}.default") from None
    if column.missing[0]:
        raise InvalidInput("expected a value; to let it stay missing write keep", field=f"{field}.default")
    return Missing("default", value["default"])


def _read_steps(p: Parameters) -> tuple[Step, ...]:
    value = p.any("encode", [])
    field = p.field("encode")
    if isinstance(value, list):
        return tuple(_read_step(step, f"{field}[{index}]") for index, step in enumerate(value))
    return (_read_step(value, field),)


def _read_step(value: Any, field: str) -> Step:
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        raise InvalidInput(
            f"expected one encoding, such as log1p or {{standardise: {{mean: 0, std: 1}}}}, got {describe(value)}", field=field
        )
    ((kind, parameters),) = value.items()
    if kind not in ENCODINGS:
        raise InvalidInput(
            f"unknown encoding {kind!r}{suggest(kind, ENCODINGS) or '; known: ' + ', '.join(ENCODINGS)}", field=field
        )
    parameters = {} if parameters is None else parameters
    return Step(kind, Parameters(parameters, f"{field}.{kind}").values)


def _read_tensors(p: Parameters) -> tuple[dict[str, tuple[str, ...]], dict[str, TensorForm]]:
    listing = p.mapping("tensors")
    if not listing.values:
        raise InvalidInput("expected at least one model input", field="tensors")
    tensors: dict[str, tuple[str, ...]] = {}
    forms: dict[str, TensorForm] = {}
    for name, value in listing.values.items():
        if isinstance(value, dict):
            each = Parameters(value, listing.field(name))
            rank = each.integer("rank", 2, least=1, most=2)
            part = each.choice("part", PARTS) if each.has("part") else None
            forms[name] = TensorForm(each.text("type") if each.has("type") else None, rank, part)
            value = each.items("features")
            each.done()
        if not isinstance(value, list) or not value or not all(isinstance(part, str) for part in value):
            raise InvalidInput(f"expected a list of features' names, got {describe(value)}", field=listing.field(name))
        tensors[name] = tuple(value)
    return tensors, forms


def _read_record(p: Parameters, sets: dict[str, FeatureSet]) -> Record:
    record = Record(p.text("set"), p.text("key"))
    if record.set not in sets:
        raise InvalidInput(f"no set is named {record.set!r}{suggest(record.set, sets)}", field=p.field("set"))
    if record.key not in sets[record.set].keys:
        known = ", ".join(sets[record.set].keys)
        raise InvalidInput(f"{record.key!r} is not a join key of {record.set}; known: {known}", field=p.field("key"))
    p.done()
    return record


def _read_store(p: Parameters) -> StoreLayout:
    views = {}
    listing = p.mapping("views")
    for name in listing.values:
        each = listing.mapping(name)
        ttl_s = read_duration(each.any("ttl"), each.field("ttl")) if each.has("ttl") and each.any("ttl") is not None else None
        views[name] = ViewLayout(_texts(each.mapping("keys")), _texts(each.mapping("values")), ttl_s)
        each.done()
    layout = StoreLayout(p.text("project"), p.integer("keySerialization", least=1), views)
    p.done()
    return layout


def _check_store(spec: FeatureSpec, store: StoreLayout) -> None:
    for each in spec.sets.values():
        if each.view not in store.views:
            raise InvalidInput(f"view {each.view!r} is not in store.views", field=f"sets.{each.name}.view")
        expected = store.views[each.view].keys
        if set(each.keys) != set(expected):
            raise InvalidInput(
                f"expected the join keys {', '.join(expected)}, got {', '.join(each.keys)}", field=f"sets.{each.name}.keys"
            )
    for index, feature in enumerate(spec.features):
        if feature.set is not None:
            view = spec.sets[feature.set].view
            if feature.column not in store.views[view].values:
                raise InvalidInput(f"view {view!r} has no column {feature.column!r}", field=f"features[{index}].from")
