"""What `penstock serve` says when it is ready: where it listens, what it serves, and commands to try next, with real values.

http://127.0.0.1:8080 serves flights (flights@sha256:…)
  curl …
"""

import json
import re
import shlex
from typing import Any

from penstock.dataplane import DataPlane
from penstock.errors import PenstockError
from penstock.features.spec import Feature
from penstock_transformer.http.record_set import RecordSet
from penstock_transformer.http.several import TransformerPlane
from penstock_transformer.plan import FetchPlan

_EXAMPLES: dict[str, Any] = {
    "string": "text", "bool": True, "int32": 1, "int64": 1, "float32": 1.0, "float64": 1.0, "timestamp": "2026-01-31T12:00:00Z",
    "unix_timestamp": 1769860800, "float": 1.0, "double": 1.0,
}  # fmt: skip


async def greeting(transformer: TransformerPlane, address: str, *, guarded: bool = False, later: bool = False) -> str:
    """The text for a server at `address` whose models are ready; `guarded`: by a key, which no browser sends by itself; `later`:
    predictions may be asked for by an id."""
    lines: list[str] = []
    several = len(transformer.models()) > 1
    for model in transformer.models():
        bundle = (await transformer.metadata(model)).bundle
        lines += [f"{address} serves {model} ({_short(bundle)})", "Try:"]
        key = " -H 'Authorization: Bearer KEY'" if guarded else ""
        commands = await _commands(transformer, model, address, several)
        if later and "-d " in commands[-1]:
            # What was just shown, kept under an id; the wait makes the first answer the whole one.
            path = re.sub(r"/(?:v2/)?models/([^/ ]+)/(?:infer|predict)", r"/models/\1/predictions", commands[-1])
            commands.append(f"{path} -H 'Prefer: wait=5'")
        lines += [f"  {command}{key}" for command in commands]
    lines.append("KEY is an API key or a token." if guarded else f"  open {address}/docs    every path, to try by hand")
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)


async def _commands(transformer: TransformerPlane, model: str, address: str, several: bool) -> list[str]:
    plan = transformer.plan(model)
    if plan is None:
        return [_post(f"{address}/v2/models/{model}/infer", await _tensors(transformer, model))]
    commands = []
    record = await _record_id(transformer, model) if plan.record is not None else None
    if record is not None:
        query = f"?model={model}" if several else ""
        commands.append(f"curl {shlex.quote(f'{address}/predict/{record}{query}')}")
    if not any(kind == "image" for kind in plan.column_types.values()):
        options = _options((await transformer.metadata(model)).properties)
        commands.append(_post(f"{address}/models/{model}/predict", {"rows": [_row(plan)]} | options))
    else:
        commands.append(f"curl -F {_image(plan)}=@FILE.png {shlex.quote(f'{address}/models/{model}/predict')}")
    return commands


def _options(properties: dict[str, Any]) -> dict[str, Any]:
    """What has to be said besides the rows: labels, where the bundle judges them and has none of its own."""
    labels = properties.get("labels")
    return {"options": {"labels": ["one label", "another"]}} if labels is not None and not labels["default"] else {}


async def _record_id(transformer: TransformerPlane, model: str) -> str | None:
    """The id of some record that is there; None if there is none, or the store is away."""
    from urllib.parse import quote

    try:
        found, _ = await RecordSet(transformer, model).page(None, 1)
    except PenstockError:
        return None
    return quote(str(found[0].id), safe="") if found else None


def _row(plan: FetchPlan) -> dict[str, Any]:
    """A row with all that has to be sent: keys, and features without a default."""
    needed = {f.column: f for f in plan.requested if f.missing.policy == "reject"}
    keys = {c: t for s in plan.sets if s is not plan.record for c, t in zip(s.key_columns, s.key_types, strict=True)}
    return {name: _example(feature) for name, feature in needed.items()} | {
        name: _EXAMPLES.get(kind, "text") for name, kind in keys.items() if name not in needed
    }


def _example(feature: Feature) -> Any:
    for step in feature.encode:
        categories = step.parameters.get("categories")
        if categories:
            return categories[0]
    kind = feature.type
    return [_EXAMPLES.get(kind[5:-1], 1.0)] if kind.startswith("list<") else _EXAMPLES.get(kind, 1.0)


def _image(plan: FetchPlan) -> str:
    return next(name for name, kind in plan.column_types.items() if kind == "image")


async def _tensors(plane: DataPlane, model: str) -> dict[str, Any]:
    """A v2 request of zeros in the model's own shapes, the axes that vary being 1."""
    inputs = []
    for tensor in (await plane.metadata(model)).inputs:
        shape = [1 if size == -1 else size for size in tensor.shape]
        count = 1
        for size in shape:
            count *= size
        zero: Any = "text" if tensor.datatype == "BYTES" else False if tensor.datatype == "BOOL" else 0
        inputs.append({"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": [zero] * min(count, 1000)})
    return {"inputs": inputs}


def _post(url: str, body: dict[str, Any]) -> str:
    text = json.dumps(body)
    return f"curl {shlex.quote(url)} -d {shlex.quote(text)}" if len(text) < 2000 else f"curl {shlex.quote(url)} -d @REQUEST.json"


def _short(bundle: str) -> str:
    name, _, digest = bundle.partition("@")
    return f"{name}@{digest[:19]}…" if digest else name
