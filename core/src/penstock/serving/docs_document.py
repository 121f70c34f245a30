"""`/openapi.json`: OpenAPI 3.1 of what this server answers now, made from its routes and its models' bundles.

    FastAPI's routes -> paths -> tidy (errors as they are, known answers) -> each model's own paths, schemas and examples

A path of a hot route with `{model}` is written out for each model, because what it takes differs by model; with more than
`MOST_MODELS` it stays one path for all.

Invariant: every route is in the document, with its methods and no others.
"""

import copy
import csv
import io
import json
from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from penstock.bundle.manifest_text import MANIFEST
from penstock.dataplane import DataPlane
from penstock.errors import PenstockError
from penstock.serving.docs_model import ModelDocs, model_docs
from penstock.serving.docs_schemas import COMPONENTS, STREAM_TEXT, Schema, errors, json_content, known_answers, reference

MOST_MODELS = 20
_METHODS = ("get", "put", "post", "delete", "patch")
_INFER = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
_V1 = "/v1/models/{model}:predict"
_PREDICT = "/models/{model}/predict"
_OF_RECORDS = ("/records", "/predict/{record_id}")


async def document(app: FastAPI) -> dict[str, Any]:
    """The document. A model that cannot be described now is listed by name alone."""
    plane: DataPlane = app.state.plane
    docs = {}
    for name in list(plane.models())[:MOST_MODELS]:
        try:
            docs[name] = await model_docs(plane, name)
        except PenstockError:
            continue
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    made.setdefault("components", {})["schemas"] = copy.deepcopy(COMPONENTS)
    records = any(one.has_records for one in docs.values()) or not docs
    paths: dict[str, Any] = {}
    first = next(iter(docs.values()), None)
    for path, operations in made["paths"].items():
        if not records and path.startswith(_OF_RECORDS):
            continue
        for method, operation in operations.items():
            if method in _METHODS:
                _tidy(path, operation)
                _exemplify(operation, first, docs if len(docs) == len(plane.models()) else ())
        if docs and len(plane.models()) <= MOST_MODELS and path in (*_INFER, _V1, _PREDICT):
            for name, one in docs.items():
                paths[path.replace("{model}", name)] = _of_model(path, operations, name, one)
        else:
            paths[path] = operations
    made["paths"] = paths
    _one_name_each(paths)
    return made


def _tidy(path: str, operation: dict[str, Any]) -> None:
    """Replace what the framework supposes of answers by what this server does."""
    responses = operation.setdefault("responses", {})
    # The framework's own is no problem document; a route's own is.
    if "application/problem+json" not in responses.get("422", {}).get("content", {}):
        responses.pop("422", None)
    known = known_answers(path)
    if known is not None:
        responses.clear()
        responses.update(known)
    elif _is_supposed(responses.get("200")):
        content = json_content(reference("InferResponse") if path.endswith("/infer") else {"type": "object"})
        if path.endswith("/infer"):
            content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
        responses["200"] = {"description": "The answer", "content": content}
    for status, response in errors(path, body="requestBody" in operation).items():
        responses.setdefault(status, response)
    if path.endswith("/stream"):
        operation["description"] = STREAM_TEXT
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            parameter.setdefault("schema", {"type": "string"}).setdefault("minLength", 1)


def _exemplify(operation: dict[str, Any], docs: ModelDocs | None, models: Collection[str]) -> None:
    """Path parameters that can be sent as they are: the first model's; `models`: all names, where they are known."""
    known = {} if docs is None else {"model": docs.metadata.name, "version": (*docs.metadata.versions, "1")[0], "file": MANIFEST}
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path" and parameter["name"] in known:
            parameter["example"] = known[parameter["name"]]
        if parameter["in"] == "path" and parameter["name"] == "model" and models:
            parameter["schema"] = {"type": "string", "enum": list(models)}


def _is_supposed(response: Any) -> bool:
    """Whether nothing but the framework's own guess is known of an answer."""
    content = {} if response is None else response.get("content", {})
    return not content or content.get("application/json", {}).get("schema") == {}


def _of_model(path: str, operations: dict[str, Any], name: str, docs: ModelDocs) -> dict[str, Any]:
    """The operations of a path for one model: its own schemas and examples."""
    operations = copy.deepcopy(operations)
    operation = operations["post"]
    operation["parameters"] = [p for p in operation.get("parameters", []) if p["name"] != "model"]
    operation.setdefault("tags", []).append(name)
    content: Schema = operation["requestBody"]["content"]
    if path == _PREDICT:
        _predict(operation, content, docs)
    elif path == _V1:
        _v1(content, docs)
    else:
        _infer(content, docs)
        for parameter in operation["parameters"]:
            parameter["schema"] = {"type": "string", "enum": list(docs.metadata.versions)}
    return operations


def _predict(operation: dict[str, Any], content: Schema, docs: ModelDocs) -> None:
    schema: Schema = content["application/json"]["schema"]
    schema["properties"]["rows"]["items"] = docs.row_schema()
    content["application/json"]["example"] = {"rows": docs.rows(), "options": {"data": True}}
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    answer["properties"]["predictions"]["items"] = docs.prediction_schema()
    # Text has no schema: what is in it is said by example.
    content["text/csv"] = {"example": _as_csv(docs.rows())}
    content["application/x-ndjson"] = {"example": "".join(f"{json.dumps(row)}\n" for row in docs.rows())}
    images = docs.spec is not None and sum(f.type == "image" for f in docs.spec.requested()) == 1
    for kind in [kind for kind in content if kind.startswith("image/") and not images]:
        del content[kind]


def _as_csv(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        cells = [row.get(name) for name in names]
        writer.writerow(["" if cell is None else json.dumps(cell) if isinstance(cell, list | bool) else cell for cell in cells])
    return out.getvalue()


def _v1(content: Schema, docs: ModelDocs) -> None:
    media = content["application/json"]
    media["schema"].pop("example", None)
    media["schema"]["properties"]["instances"]["items"] = docs.instance_schema()
    rows, inputs = docs.rows(), docs.metadata.inputs
    alone = docs.spec is None and len(inputs) == 1
    media["example"] = {"instances": [row[inputs[0].name] for row in rows] if alone else rows}


def _infer(content: Schema, docs: ModelDocs) -> None:
    media = content["application/json"]
    schema: Schema = media["schema"]
    schema.pop("example", None)
    tensor: Schema = schema["properties"]["inputs"]["items"]
    signature = docs.metadata.inputs
    tensor["properties"]["name"] = {"type": "string", "description": "; ".join(_said(one) for one in signature)}
    tensor["properties"]["datatype"] = {"type": "string", "enum": sorted({one.datatype for one in signature})}
    media["example"] = docs.infer_example()


def _said(one: Any) -> str:
    return f"{one.name}: {one.datatype} {list(one.shape)}"


def _one_name_each(paths: dict[str, Any]) -> None:
    """OpenAPI wants every operation to have a name of its own."""
    seen: dict[str, int] = {}
    for operations in paths.values():
        for method, operation in operations.items():
            if method in _METHODS:
                name = operation.get("operationId") or method
                seen[name] = seen.get(name, 0) + 1
                if seen[name] > 1:
                    name = f"{name}_{seen[name]}"
                operation["operationId"] = name
