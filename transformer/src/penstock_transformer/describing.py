"""What the transformer says of itself: the raw features that callers send, and the outputs they get.

ActiveBundle, Route -> ModelMetadata
"""

from typing import Any

from penstock.dataplane import ModelMetadata, TensorMetadata
from penstock_transformer.active import ActiveBundle
from penstock_transformer.plan import FetchPlan
from penstock_transformer.routing import Route

_DATATYPES = {
    "string": "BYTES", "bytes": "BYTES", "image": "BYTES", "bool": "BOOL", "int32": "INT32", "int64": "INT64",
    "float32": "FP32", "float": "FP32", "float64": "FP64", "double": "FP64", "timestamp": "FP64", "unix_timestamp": "FP64",
}  # fmt: skip


def describe(model: str, bundle: ActiveBundle, route: Route | None) -> ModelMetadata:
    """The metadata of `model` as answered by `bundle`; a bundle without features shows the model's own inputs."""
    signature = bundle.manifest.model
    versions = tuple(dict.fromkeys(t.bundle.version for t in route.live)) if route is not None else (bundle.version,)
    properties: dict[str, Any] = {}
    if bundle.manifest.card:
        properties["card"] = bundle.manifest.card
    if bundle.plan is not None:
        properties["stored_features"] = bundle.plan.stored_names
    if bundle.zero_shot is not None:
        properties["labels"] = {"default": list(bundle.zero_shot.defaults), "most": bundle.zero_shot.spec.max_labels}
    inputs = raw_inputs(bundle.plan) if bundle.plan is not None else signature.inputs
    return ModelMetadata(model, versions, "penstock_bundle", inputs, signature.outputs, bundle.label, properties)


def raw_inputs(plan: FetchPlan) -> tuple[TensorMetadata, ...]:
    """The columns that a row may hold: the sets' keys and the features of the request."""
    return tuple(_input(name, kind) for name, kind in plan.column_types.items())


def _input(name: str, kind: str) -> TensorMetadata:
    if kind.startswith("list<"):
        return TensorMetadata(name, _DATATYPES[kind[5:-1]], (-1, -1))
    return TensorMetadata(name, _DATATYPES.get(kind, "BYTES"), (-1,))
