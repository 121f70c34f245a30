"""What `/docs` shows of the hot routes, which FastAPI does not see: OpenAPI fragments for their bodies and answers."""

from typing import Any

_PREDICTION: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"type": ["string", "null"]},
        "scores": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        "value": {},
        "data": {"type": "object", "description": "the raw features that the prediction was made from"},
        "defaulted": {"type": "array", "items": {"type": "string"}, "description": "features whose default stood in"},
        "ages_s": {"type": "object", "description": "age of the stored values, in seconds, by feature set"},
        "truncated": {"type": "array", "items": {"type": "string"}, "description": "texts that were cut to the model's length"},
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
_DATA: dict[str, Any] = {"name": "data", "in": "query", "schema": {"type": "boolean"}, "description": "false leaves the data out"}
_LABELS: dict[str, Any] = {
    "name": "labels",
    "in": "query",
    "schema": {"type": "array", "items": {"type": "string"}},
    "description": "labels to judge the rows by, for a bundle that does (zeroShot)",
}


def _answers(schema: dict[str, Any], *, streamed: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if streamed:
        content |= {kind: {"schema": {"type": "string"}} for kind in ("application/x-ndjson", "text/event-stream")}
        content["application/vnd.apache.arrow.stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {"200": {"description": "Predictions, one a row", "content": content}}


_BULK = """NDJSON and Arrow bodies may be of any length: rows are predicted as they arrive and answered in order, a line or a row
each; a row that is wrong is answered by its error, and the rest goes on. `Accept` says whether answers come as
`application/x-ndjson`, `application/vnd.apache.arrow.stream` or `text/event-stream`, for JSON and CSV bodies too."""

POST_PREDICT: dict[str, Any] = {
    "tags": ["predict"],
    "description": _BULK,
    "parameters": [
        {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}},
        _DATA,
        _LABELS,
    ],
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
                        "options": {
                            "type": ["object", "null"],
                            "properties": {"data": {"type": "boolean"}, "labels": _LABELS["schema"]},
                            "additionalProperties": False,
                        },
                    },
                    "additionalProperties": False,
                }
            },
            "application/x-ndjson": {"schema": {"type": "string", "description": "a row, as above, a line"}},
            "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
            "text/csv": {"schema": {"type": "string"}},
            "multipart/form-data": {"schema": {"type": "object"}},
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "responses": _answers(_ANSWER, streamed=True),
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
    "responses": {
        "200": {
            "description": "Predictions, one an instance",
            "content": {
                "application/json": {
                    "schema": {"type": "object", "required": ["predictions"], "properties": {"predictions": {"type": "array"}}}
                }
            },
        }
    },
}
