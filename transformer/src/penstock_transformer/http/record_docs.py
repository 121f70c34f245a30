"""What `/openapi.json` says of `/records`."""

from typing import Any

_VALUES: dict[str, Any] = {"type": "object", "description": "column to value; a column that is left out is missing"}
_RECORD: dict[str, Any] = {
    "type": "object",
    "required": ["id", "event_time", "values"],
    "properties": {
        "id": {"type": ["string", "integer"]},
        "event_time": {"type": "string", "format": "date-time"},
        "values": _VALUES,
    },
}
_REPORT: dict[str, Any] = {
    "type": "object",
    "required": ["written", "unchanged", "refused", "rejected"],
    "properties": {
        "written": {"type": "integer"},
        "unchanged": {"type": "integer", "description": "no newer than what is stored"},
        "refused": {"type": "integer"},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "row": {"type": "integer"},
                    "line": {"type": "integer"},
                    "field": {"type": ["string", "null"]},
                    "reason": {"type": "string"},
                },
            },
        },
    },
}
_PAGE: dict[str, Any] = {
    "type": "object",
    "required": ["records", "cursor"],
    "properties": {"records": {"type": "array", "items": _RECORD}, "cursor": {"type": ["string", "null"]}},
}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["values"],
                "properties": {
                    "id": {"type": ["string", "integer", "null"], "description": "made if absent"},
                    "event_time": {
                        "type": ["string", "number", "null"],
                        "format": "date-time",
                        "description": "now if absent; at most a day ahead",
                    },
                    "values": _VALUES,
                },
                "additionalProperties": False,
            }
        }
    },
}
_CONFLICT: dict[str, Any] = {
    "description": "There is such a record, or a newer one",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_MADE = {"201": _json("The record, stored; Location is its address", _RECORD)}

CREATE: dict[str, Any] = {"requestBody": _BODY, "responses": {**_MADE, "409": _CONFLICT}}
PAGE: dict[str, Any] = {"responses": {"200": _json("Records, and the cursor of the next page", _PAGE)}}
IMPORT: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"text/csv": {}}},
    "responses": {"200": _json("Every row was stored, or was no newer than what is", _REPORT)},
}
SHOW: dict[str, Any] = {"responses": {"200": _json("The record", _RECORD)}}
REPLACE: dict[str, Any] = {
    "requestBody": _BODY,
    "responses": {"200": _json("The record, replaced", _RECORD), **_MADE, "409": _CONFLICT},
}
