"""The schemas of `/openapi.json` that are the same for every model: errors, the protocols' documents, health.

Invariant: a path documents every status that it can answer with, the rarer ones together as `default`, in the one form that
errors have on it.
"""

from typing import Any

from penstock.serving.status import is_protocol_path

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TENSOR: Schema = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": _TEXT,
        "datatype": _TEXT,
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array"},
        "parameters": {"type": "object"},
    },
}
_SIGNATURE: Schema = {"type": "array", "items": {"$ref": "#/components/schemas/TensorMetadata"}}
COMPONENTS: dict[str, Schema] = {
    "Error": {"type": "object", "required": ["error"], "properties": {"error": _TEXT}},
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "what was wrong, and what was expected"},
            "kind": _TEXT,
            "field": {"type": "string", "description": "the field at fault, as in rows[3].carrier"},
        },
    },
    "TensorMetadata": {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {"name": _TEXT, "datatype": _TEXT, "shape": {"type": "array", "items": {"type": "integer"}}},
    },
    "ModelMetadata": {
        "type": "object",
        "required": ["name", "platform", "inputs", "outputs"],
        "properties": {
            "name": _TEXT,
            "versions": {"type": "array", "items": _TEXT},
            "platform": _TEXT,
            "inputs": _SIGNATURE,
            "outputs": _SIGNATURE,
            "bundle": {"type": "string", "description": "name@sha256:…, which decides every prediction"},
            "properties": {"type": "object"},
        },
    },
    "ServerMetadata": {
        "type": "object",
        "required": ["name", "version", "extensions"],
        "properties": {"name": _TEXT, "version": _TEXT, "extensions": {"type": "array", "items": _TEXT}},
    },
    "InferResponse": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": {"type": "object"},
            "outputs": {"type": "array", "items": _TENSOR},
        },
    },
    "Ready": {"type": "object", "required": ["ready"], "properties": {"name": _TEXT, "ready": {"type": "boolean"}}},
    "Live": {"type": "object", "required": ["live"], "properties": {"live": {"type": "boolean"}}},
    "Models": {"type": "object", "required": ["models"], "properties": {"models": {"type": "array", "items": _TEXT}}},
    "RepositoryIndex": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "version", "state", "reason"],
            "properties": {
                "name": _TEXT,
                "version": _TEXT,
                "state": {"type": "string", "enum": ["READY", "LOADING", "UNAVAILABLE"]},
                "reason": {"type": "string", "description": "why it is not ready, or why its last load failed; else empty"},
                "bundle": {"type": "string", "description": "name@sha256:…; empty where it is not known"},
            },
        },
    },
    "Loaded": {"type": "object", "required": ["name", "load"], "properties": {"name": _TEXT, "load": {"const": True}}},
    "Unloaded": {"type": "object", "required": ["name", "unload"], "properties": {"name": _TEXT, "unload": {"const": True}}},
    "Alive": {"type": "object", "required": ["status"], "properties": {"status": _TEXT, "state": _TEXT}},
    "Readiness": {
        "type": "object",
        "required": ["ready", "reasons"],
        "properties": {"ready": {"type": "boolean"}, "reasons": {"type": "object", "additionalProperties": _TEXT}},
    },
}

# What a path answers with 200; for health with 503 too.
ANSWERS: dict[str, str] = {
    "/": "Alive",
    "/v2": "ServerMetadata",
    "/v2/health/live": "Live",
    "/v2/health/ready": "Ready",
    "/v2/models/{model}": "ModelMetadata",
    "/v2/models/{model}/versions/{version}": "ModelMetadata",
    "/v2/models/{model}/ready": "Ready",
    "/v2/models/{model}/versions/{version}/ready": "Ready",
    "/v1/models": "Models",
    "/v1/models/{model}": "Ready",
    "/healthz": "Alive",
    "/readyz": "Readiness",
    "/v2/repository/index": "RepositoryIndex",
    "/v2/repository/models/{model}/load": "Loaded",
    "/v2/repository/models/{model}/versions/{version}/load": "Loaded",
    "/v2/repository/models/{model}/unload": "Unloaded",
    "/v2/repository/models/{model}/versions/{version}/unload": "Unloaded",
}
_WITH_503 = frozenset({"Ready", "Readiness"})

STREAM_TEXT = """A WebSocket. Open it with `new WebSocket("ws://…/v2/models/{model}/stream")` or any other client.

The server's first message is `{"credit": n}`: so many requests may be unanswered, and more is granted as they are answered in
messages of the same form. A text message is a v2 request with an `id`; a binary message is a u32 little-endian length, a v2
request of that length, and its binary tensors. Answers have the request's `id` and come as they are ready. A request that fails
is answered `{"id", "error", "kind", "status"}`. Parameters named like request headers (`penstock-timeout-ms`, …) hold for one
request.
"""


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def json_content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def errors(path: str, *, body: bool) -> dict[str, Schema]:
    """The responses of a path that are errors, in its form."""
    if is_protocol_path(path.encode()):
        content = json_content(reference("Error"))
    else:
        content = {"application/problem+json": {"schema": reference("Problem")}}
    responses = {"default": {"description": "An error; it says what was wrong and what was expected", "content": content}}
    if body or "{" in path:
        responses["400"] = {"description": "The request is wrong; the error names the field", "content": content}
    if "{" in path or "/models/" in path:
        responses["404"] = {"description": "No such model, version or record", "content": content}
    if body:
        responses["413"] = {"description": "The body is too large", "content": content}
        responses["415"] = {"description": "A body of a kind that this path does not take", "content": content}
        responses["429"] = {"description": "Too much at once; Retry-After says when to try again", "content": content}
    return responses


def known_answers(path: str) -> dict[str, Schema] | None:
    """The 200 (and 503) of a path whose answer is always of one form; None for any other."""
    if path == "/metrics":
        return {"200": {"description": "Prometheus text", "content": {"text/plain": {"schema": _TEXT}}}}
    if path.endswith("/bundle/{file}"):
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        return {"200": {"description": "The file", "content": content}}
    if path.endswith("/stream"):
        return {
            "101": {"description": "A WebSocket"},
            "426": {"description": "Not a WebSocket handshake", "content": json_content(reference("Error"))},
        }
    name = ANSWERS.get(path)
    if name is None:
        return None
    answers = {"200": {"description": "Yes" if name in _WITH_503 else "The answer", "content": json_content(reference(name))}}
    if name in _WITH_503:
        answers["503"] = {"description": "No, or not yet", "content": json_content(reference(name))}
    return answers
