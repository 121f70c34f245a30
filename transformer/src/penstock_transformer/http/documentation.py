"""What `/docs` shows of the hot routes, which FastAPI does not see: OpenAPI fragments for their bodies and answers."""

from typing import Any

_PREDICTION: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "nullable": True},
        "scores": {"type": "object", "additionalProperties": {"type": "number"}},
        "value": {},
        "data": {"type": "object", "description": "the raw features that the prediction was made from"},
        "defaulted": {"type": "array", "items": {"type": "string"}, "description": "features whose default stood in"},
        "ages_s": {"type": "object", "description": "age of the stored values, in seconds, by feature set"},
    },
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "bundle": {"type": "string", "description": "name@sha256:…, which decided this prediction"},
        "predictions": {"type": "array", "items": _PREDICTION},
    },
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        name: {"type": kind}
        for name, kind in {"title": "string", "status": "integer", "detail": "string", "field": "string"}.items()
    },
}
_REFUSED: dict[str, Any] = {
    status: {"description": what, "content": {"application/problem+json": {"schema": _PROBLEM}}}
    for status, what in {"400": "The request is wrong; `field` says where", "404": "No such model or record"}.items()
}
_DATA: dict[str, Any] = {"name": "data", "in": "query", "schema": {"type": "boolean"}, "description": "false leaves the data out"}


def _answers(schema: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": "Predictions, one a row", "content": {"application/json": {"schema": schema}}}} | _REFUSED


POST_PREDICT: dict[str, Any] = {
    "tags": ["predict"],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["rows"],
                    "properties": {
                        "rows": {
                            "type": "array",
                            "items": {"type": "object"},
                            "description": "feature or key to value, one object a row",
                        },
                        "options": {"type": "object", "properties": {"data": {"type": "boolean"}}},
                    },
                }
            },
            "text/csv": {"schema": {"type": "string"}},
            "multipart/form-data": {"schema": {"type": "object"}},
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "responses": _answers(_ANSWER),
}
GET_PREDICT: dict[str, Any] = {
    "tags": ["predict"],
    "parameters": [
        {"name": "record_id", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "model", "in": "query", "schema": {"type": "string"}, "description": "needed where several models are served"},
        _DATA,
    ],
    "responses": _answers({**_ANSWER, "properties": {**_ANSWER["properties"], "record": {"type": "object"}}}),
}
V1_PREDICT: dict[str, Any] = {
    "tags": ["predict"],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["instances"],
                    "properties": {"instances": {"type": "array", "items": {"type": "object"}}},
                }
            }
        },
    },
}
