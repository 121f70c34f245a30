"""What `/openapi.json` says of `/predictions`."""

from typing import Any

from penstock_transformer.http.documentation import POST_PREDICT

Schema = dict[str, Any]

_TIME: Schema = {"type": "string", "format": "date-time"}
_PROBLEM: Schema = {"$ref": "#/components/schemas/Problem"}
_STATES = ["starting", "processing", "succeeded", "failed", "canceled"]
_PREDICTION: Schema = {
    "type": "object",
    "required": ["id", "model", "state", "rows", "created_at", "links"],
    "properties": {
        "id": {"type": "string", "description": "the same in the answer, on Kafka, in logs and in the database"},
        "model": {"type": "string"},
        "state": {"type": "string", "enum": _STATES, "description": "starting means queued"},
        "position": {"type": "integer", "description": "how many are before it in the database's queue, while it waits there"},
        "rows": {"type": "integer"},
        "created_at": _TIME,
        "started_at": _TIME,
        "ended_at": _TIME,
        "expires_at": {**_TIME, "description": "when it is removed, with its input"},
        "bundle": {"type": "string", "description": "name@sha256:…, which made the prediction"},
        "idempotency_key": {"type": "string"},
        "result": {"type": "object", "description": "as predict answers, or v2 infer; tensors in binary are at links.result"},
        "error": _PROBLEM,
        "links": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_PAGE: Schema = {
    "type": "object",
    "required": ["predictions", "cursor"],
    "properties": {"predictions": {"type": "array", "items": _PREDICTION}, "cursor": {"type": ["string", "null"]}},
}


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _header(name: str, description: str) -> Schema:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": description}


_ID: Schema = {"name": "prediction_id", "in": "path", "required": True, "schema": {"type": "string"}}
_BODIES: Schema = POST_PREDICT["requestBody"]["content"]
_TENSORS: Schema = {
    "type": "object",
    "required": ["inputs"],
    "properties": {"inputs": {"type": "array", "items": {"type": "object"}}},
    "description": "Open Inference Protocol v2",
}
_ROWS: Schema = POST_PREDICT["requestBody"]["content"]["application/json"]["schema"]

SUBMIT: Schema = {
    "tags": ["predictions"],
    "description": "The body is what predict takes, or a v2 infer request, in JSON or with binary tensors.",
    "parameters": [
        *POST_PREDICT["parameters"],
        _header("Idempotency-Key", "the same key and the same request again: the first prediction; another request: 422"),
        _header(
            "Penstock-Webhook", "an https:// address that is told, signed, when the prediction has ended; 400 where it cannot be"
        ),
        _header("Prefer", "wait=n: 200 with the prediction if it has ended within n seconds"),
    ],
    "requestBody": {
        "required": True,
        "content": {
            **_BODIES,
            "application/json": {"schema": {"anyOf": [_ROWS, _TENSORS]}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "responses": {
        "202": {**_json("Kept; Location is its address", _PREDICTION)},
        "200": _json("Ended within the time that Prefer: wait=n gave it", _PREDICTION),
        "422": {
            "description": "The Idempotency-Key was used for another request",
            "content": {"application/problem+json": {"schema": _PROBLEM}},
        },
    },
}
SHOW: Schema = {
    "tags": ["predictions"],
    "parameters": [_ID, _header("Prefer", "wait=n: kept back until it has ended, at most n seconds")],
    "responses": {"200": _json("The prediction", _PREDICTION)},
}
LIST: Schema = {"responses": {"200": _json("Predictions, and the cursor of the next page", _PAGE)}}
CANCEL: Schema = {"responses": {"200": _json("Canceled, or how it ended before", _PREDICTION)}}
PAYLOAD: Schema = {
    "responses": {
        "200": {
            "description": "The bytes as they are kept",
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    }
}
EVENTS: Schema = {
    "responses": {
        "200": {
            "description": "An event a state, named by it, its data the prediction; the last has the result",
            "content": {"text/event-stream": {}},
        },
        "204": {"description": "Last-Event-ID says that the end has been seen"},
    }
}
