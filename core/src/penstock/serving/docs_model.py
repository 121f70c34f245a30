"""What a model's bundle says about its requests, as JSON Schema and examples: the part of `/openapi.json` that differs by model.

    bundle.yaml, features.yaml, golden.jsonl, profile.json -(DataPlane.bundle_file)-> ModelDocs -> schemas, examples

Everything comes from the bundle that answers now, through the same door as everything else, so that a page never shows one model
and the server another. What a bundle does not hold is simply not said.
"""

import asyncio
import itertools
import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from penstock.bundle.golden import GOLDEN, Golden, read_golden
from penstock.bundle.manifest_text import MANIFEST, read_manifest
from penstock.bundle.profile import PROFILE
from penstock.dataplane import DataPlane, ModelMetadata, TensorMetadata
from penstock.errors import PenstockError
from penstock.features.reading import read_spec
from penstock.features.spec import Feature, FeatureSpec

logger = logging.getLogger(__name__)

EXAMPLES = 3
_SHOWN_VALUES = 12
_PATIENCE_S = 2.0
_INTEGERS = {"int32": 32, "int64": 64}
_TENSOR_TYPES = {"BYTES": "string", "BOOL": "boolean"}


@dataclass(frozen=True)
class ModelDocs:
    """One model. `spec` None: no features, and rows are the model's own inputs. `kind` is how its outputs become predictions."""

    metadata: ModelMetadata
    spec: FeatureSpec | None = None
    golden: list[Golden] = field(default_factory=list)
    profile: dict[str, Any] = field(default_factory=dict)
    kind: str = "raw"
    labels: tuple[str, ...] = ()

    @property
    def has_records(self) -> bool:
        return self.spec is not None and self.spec.record is not None

    def rows(self) -> list[dict[str, Any]]:
        """Example rows as callers send them."""
        if self.spec is None:
            return [golden.tensors for golden in self.golden[:EXAMPLES]] or [self._blank_row()]
        requested = self.spec.requested()
        names = {feature.column: feature.name for feature in requested}
        rows = [
            {column: golden.row[name] for column, name in names.items() if golden.row.get(name) is not None}
            for golden in self.golden[:EXAMPLES]
        ]
        return [row for row in rows if row] or [{f.column: _sample(f.type) for f in requested if f.missing.policy == "reject"}]

    def row_schema(self) -> dict[str, Any]:
        """A row of `POST /models/{m}/predict`, with what the bundle says of each feature."""
        if self.spec is None:
            inputs = self.metadata.inputs
            return {
                "type": "object",
                "required": [one.name for one in inputs],
                "properties": {one.name: _nested(one.datatype, one.shape[1:]) for one in inputs},
                "additionalProperties": False,
            }
        spec = self.spec
        keys = _keys(spec)
        properties = {name: _key_schema(kind) | {"description": text} for name, (kind, text) in keys.items()}
        for feature in spec.requested():
            properties[feature.column] = self._feature_schema(feature)
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        needed = [f.column for f in spec.requested() if f.missing.policy == "reject"]
        if spec.record is None:
            schema["required"] = needed
        elif needed:
            key = spec.sets[spec.record.set].keys[spec.record.key]
            schema["anyOf"] = [{"required": needed}, {"required": [key]}]
        return schema

    def instance_schema(self) -> dict[str, Any]:
        """An instance of protocol v1: a row of features, or of a plain model's tensors, where null is NaN; of one input also its
        value alone."""
        if self.spec is not None:
            return self.row_schema()
        values = {one.name: _nested(one.datatype, one.shape[1:], with_nan=True) for one in self.metadata.inputs}
        row = {"type": "object", "required": list(values), "properties": values, "additionalProperties": False}
        return {"anyOf": [*values.values(), row]} if len(values) == 1 else row

    def infer_example(self) -> dict[str, Any]:
        """A v2 request that can be sent as it is."""
        rows = self.rows()
        inputs = []
        for one in self.metadata.inputs:
            values = [row[one.name] for row in rows if row.get(one.name) is not None]
            if len(values) != len(rows):
                if self.spec is not None:
                    continue
                values = [_zeros(one.datatype, one.shape[1:]) for _ in rows]
            inputs.append(_input_example(one, [_as_element(value, one.datatype) for value in values]))
        return {"id": "1", "inputs": inputs}

    def _feature_schema(self, feature: Feature) -> dict[str, Any]:
        schema = _value_schema(feature.type, feature.length)
        seen = self._range_said(feature.name, feature.type == "timestamp")
        said = [seen] if seen else []
        policy = feature.missing.policy
        if policy == "default":
            said.append(f"missing means {feature.missing.default!r}")
        elif policy == "keep":
            said.append("may be missing")
        else:
            said.append(
                "must be given" if self.spec is None or self.spec.record is None else "must be given, or be in the record"
            )
        if policy != "reject" and isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
        schema["description"] = "; ".join(said)
        return schema

    def _range_said(self, name: str, is_time: bool) -> str:
        seen = self.profile.get("features", {}).get(name)
        if not isinstance(seen, dict):
            return ""
        if "min" in seen and is_time:
            first, last = (datetime.fromtimestamp(seen[end], UTC).date().isoformat() for end in ("min", "max"))
            return f"from {first} to {last} in training"
        if "min" in seen:
            return f"from {seen['min']:g} to {seen['max']:g} in training"
        values = list(seen.get("values", {}))
        more = ", …" if seen.get("distinct", 0) > _SHOWN_VALUES else ""
        return f"in training {', '.join(values[:_SHOWN_VALUES])}{more}" if values else ""

    def _blank_row(self) -> dict[str, Any]:
        return {one.name: _zeros(one.datatype, one.shape[1:]) for one in self.metadata.inputs}

    def prediction_schema(self) -> dict[str, Any]:
        """One prediction as this model's are."""
        nullable_label: dict[str, Any] = {"type": ["string", "null"]}
        if self.labels:
            nullable_label["enum"] = [*self.labels, None]
        parts: dict[str, dict[str, Any]] = {
            "classification": {
                "label": nullable_label,
                "scores": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
            },
            "regression": {"value": {}},
            "boolean": {"value": {"type": ["boolean", "null"]}, "label": nullable_label},
            "raw": {"outputs": {"type": "object"}},
        }
        shared = {
            "data": {"type": "object", "description": "the features that the prediction was made from"},
            "defaulted": {"type": "array", "items": {"type": "string"}, "description": "features whose default stood in"},
            "ages_s": {
                "type": "object",
                "additionalProperties": {"type": ["number", "null"]},
                "description": "seconds since the stored values were true, by feature set",
            },
        }
        return {"type": "object", "properties": {**parts.get(self.kind, {}), **shared}}


async def model_docs(plane: DataPlane, model: str) -> ModelDocs:
    """What can be said of a model now. Raises NotFound, NotReady; a file that cannot be had or read is left out."""
    metadata = await plane.metadata(model)
    files = dict(
        zip(
            (MANIFEST, "features.yaml", GOLDEN, PROFILE),
            await asyncio.gather(*(_file(plane, model, name) for name in (MANIFEST, "features.yaml", GOLDEN, PROFILE))),
            strict=True,
        )
    )
    try:
        manifest = read_manifest(files[MANIFEST]) if files[MANIFEST] else None
        raw = files["features.yaml"]
        # A predictor has the file too, but its inputs are the model's own: the metadata says which it is.
        spec = read_spec(raw.decode()) if raw and _takes_features(metadata, read_spec(raw.decode())) else None
        golden = read_golden(b"\n".join(itertools.islice(files[GOLDEN].splitlines(), EXAMPLES)))
        profile = json.loads(files[PROFILE] or b"{}")
    except (PenstockError, ValueError) as error:
        logger.warning("bundle's documentation cannot be read", extra={"model": model, "reason": str(error)})
        return ModelDocs(metadata)
    post = manifest.postprocess if manifest is not None else None
    return ModelDocs(metadata, spec, golden, profile, post.kind if post else "raw", post.labels if post else ())


def _takes_features(metadata: ModelMetadata, spec: FeatureSpec) -> bool:
    return {feature.column for feature in spec.requested()} <= {one.name for one in metadata.inputs}


async def _file(plane: DataPlane, model: str, name: str) -> bytes:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await plane.bundle_file(model, name)
    except (PenstockError, TimeoutError):
        return b""


def _keys(spec: FeatureSpec) -> dict[str, tuple[str, str]]:
    """The columns that are keys of stored sets: type, and what is said of them."""
    found: dict[str, tuple[str, str]] = {}
    for one in spec.sets.values():
        view = spec.store.views.get(one.view) if spec.store is not None else None
        for join, column in one.keys.items():
            kind = view.keys.get(join, "string") if view is not None else "string"
            found.setdefault(column, (kind, f"key of the stored set {one.name}"))
    return found


def _key_schema(kind: str) -> dict[str, Any]:
    return {"type": ["integer", "null"]} if kind in _INTEGERS else {"type": ["string", "null"]}


def _value_schema(kind: str, length: int | None) -> dict[str, Any]:
    if kind.startswith("list<"):
        schema: dict[str, Any] = {"type": "array", "items": _value_schema(kind[5:-1], None)}
        return schema | ({"maxItems": length} if length is not None else {})
    if kind in _INTEGERS:
        bits = _INTEGERS[kind]
        return {"type": "integer", "minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}
    if kind == "timestamp":
        return {"type": ["number", "string", "null"], "format": "date-time"}
    if kind == "image":
        return {"type": "string", "contentEncoding": "base64"}
    return {"type": {"string": "string", "bool": "boolean", "bytes": "string"}.get(kind, "number")}


def _sample(kind: str) -> Any:
    """Some value of a feature's type, for a bundle without examples."""
    if kind.startswith("list<"):
        return [_sample(kind[5:-1])]
    return {"string": "", "bool": False, "image": "", "bytes": "", "int32": 0, "int64": 0}.get(kind, 0.0)


def _nested(datatype: str, shape: tuple[int, ...], *, with_nan: bool = False) -> dict[str, Any]:
    if not shape:
        kind = _TENSOR_TYPES.get(datatype, "number" if datatype.startswith("FP") else "integer")
        return {"type": [kind, "null"] if with_nan and datatype.startswith("FP") else kind}
    size = {"minItems": shape[0], "maxItems": shape[0]} if shape[0] >= 0 else {}
    return {"type": "array", "items": _nested(datatype, shape[1:], with_nan=with_nan), **size}


def _zeros(datatype: str, shape: tuple[int, ...]) -> Any:
    if not shape:
        return {"BYTES": "", "BOOL": False}.get(datatype, 0.0 if datatype.startswith("FP") else 0)
    return [_zeros(datatype, shape[1:]) for _ in range(min(max(shape[0], 1), 1024))]


def _as_element(value: Any, datatype: str) -> Any:
    """A row's value as a tensor's element: times, which rows may say in words, as seconds."""
    if isinstance(value, str) and datatype != "BYTES":
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return value


def _input_example(one: TensorMetadata, values: list[Any]) -> dict[str, Any]:
    shape, level = [len(values)], values[0]
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    return {"name": one.name, "datatype": one.datatype, "shape": shape, "data": _flat(values)}


def _flat(values: list[Any]) -> list[Any]:
    return [part for value in values for part in (_flat(value) if isinstance(value, list) else [value])]
