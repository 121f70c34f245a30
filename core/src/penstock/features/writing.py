"""A `FeatureSpec` to features.yaml: the same spec always gives the same bytes, and reads back equal."""

from typing import Any

from penstock.features.document import write_document
from penstock.features.durations import write_duration
from penstock.features.spec import Feature, FeatureSet, FeatureSpec, Step, StoreLayout, ViewLayout

FORMAT_VERSION = 1


def write_spec(spec: FeatureSpec) -> str:
    """The text of features.yaml."""
    document: dict[str, Any] = {"formatVersion": FORMAT_VERSION}
    if spec.record is not None:
        document["record"] = {"set": spec.record.set, "key": spec.record.key}
    if spec.sets:
        document["sets"] = {name: _set_fields(each) for name, each in spec.sets.items()}
    document["features"] = [_feature_fields(feature) for feature in spec.features]
    document["tensors"] = {name: _tensor_fields(spec, name) for name in spec.tensors}
    if spec.store is not None:
        document["store"] = store_fields(spec.store)
    return write_document(document)


def _set_fields(each: FeatureSet) -> dict[str, Any]:
    fields: dict[str, Any] = {"view": each.view, "keys": dict(each.keys)}
    return fields | ({"maxAge": write_duration(each.max_age_s)} if each.max_age_s is not None else {})


def _feature_fields(feature: Feature) -> dict[str, Any]:
    source = "request" if feature.set is None else f"{feature.set}.{feature.column}"
    fields: dict[str, Any] = {"name": feature.name, "from": source, "type": feature.type}
    if feature.length is not None:
        fields["length"] = feature.length
    if feature.max_age_s is not None:
        fields["maxAge"] = write_duration(feature.max_age_s)
    policy = feature.missing.policy
    fields["missing"] = {"default": feature.missing.default} if policy == "default" else policy
    if feature.encode:
        steps = [_step_fields(step) for step in feature.encode]
        fields["encode"] = steps[0] if len(steps) == 1 else steps
    return fields


def _step_fields(step: Step) -> Any:
    return {step.kind: dict(step.parameters)} if step.parameters else step.kind


def _tensor_fields(spec: FeatureSpec, name: str) -> Any:
    form = spec.forms.get(name)
    parts = list(spec.tensors[name])
    if form is None:
        return parts
    fields = {"type": form.type} if form.type else {}
    return (
        {"features": parts}
        | fields
        | ({"rank": form.rank} if form.rank != 2 else {})
        | ({"part": form.part} if form.part else {})
    )


def store_fields(store: StoreLayout) -> dict[str, Any]:
    """The `store` part as plain values."""
    views = {name: _view_fields(view) for name, view in store.views.items()}
    return {"project": store.project, "keySerialization": store.key_serialization, "views": views}


def _view_fields(view: ViewLayout) -> dict[str, Any]:
    fields: dict[str, Any] = {"keys": dict(view.keys), "values": dict(view.values)}
    return fields | ({"ttl": write_duration(view.ttl_s)} if view.ttl_s is not None else {})
