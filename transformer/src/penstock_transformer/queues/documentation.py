"""What `/openapi.json` says of `/queues`."""

from typing import Any

Schema = dict[str, Any]

_NUMBER: Schema = {"type": ["number", "null"]}
_COUNT: Schema = {"type": ["integer", "null"]}
_COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
_TEXT: Schema = {"type": ["string", "null"]}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


_LAG: Schema = {
    "lag_records": {**_COUNT, "description": "offsets that the group has not read; null where no group reads"},
    "lag_s": {**_NUMBER, "description": "age of the oldest record that it has not read"},
    "rate_in": {"type": "number", "description": "records a second over the last minute"},
    "rate_out": _NUMBER,
}
_PARTITION = _object(["partition", "end"], partition={"type": "integer"}, first={"type": "integer"}, end={"type": "integer"},
                     committed=_COUNT, **_LAG)  # fmt: skip
_TOPIC = _object(
    ["topic", "role", "partitions"],
    topic={"type": "string"},
    role={"type": "string", "enum": ["requests", "predictions", "dead-letters"]},
    group=_TEXT,
    records={"type": "integer"},
    partitions={"type": "array", "items": _PARTITION},
    **_LAG,
)
_LETTER_FIGURES: Schema = {
    "type": ["object", "null"],
    "properties": {
        "topic": {"type": "string"},
        "reasons": {**_COUNTS, "description": "all that the topic keeps, by reason"},
        "waiting": {"type": "integer", "description": "those that nobody has seen to"},
        "replayed": {"type": "integer"},
        "dropped": {"type": "integer"},
        "counted": {"type": "boolean", "description": "false while the topic is still being read"},
    },
}
_MODEL = _object(["model", "topics"], model={"type": "string"}, topics={"type": "array", "items": _TOPIC},
                 missing={"type": "array", "items": {"type": "string"}}, dead_letters=_LETTER_FIGURES)  # fmt: skip
_BROKER: Schema = {
    "type": ["object", "null"],
    "properties": {
        "state": {"type": "string", "enum": ["up", "away", "starting"]},
        "since_s": {"type": "number"},
        "message": _TEXT,
        "figures_age_s": {**_NUMBER, "description": "how old the figures of the topics are"},
    },
}
_BACKLOG = _object(["model"], model={"type": "string"}, waiting={"type": "integer"}, processing={"type": "integer"},
                   oldest_s=_NUMBER)  # fmt: skip
_QUEUES = _object(
    ["at_s", "models"],
    at_s={"type": "number", "description": "s of the Unix epoch"},
    broker=_BROKER,
    models={"type": "array", "items": _MODEL},
    worker={"type": ["object", "null"], "description": "this process, where it is a worker"},
    database={"type": ["array", "null"], "items": _BACKLOG},
    database_message=_TEXT,
)
_ENTRY = _object(
    ["partition", "offset", "id", "reason"],
    partition={"type": "integer"},
    offset={"type": "integer"},
    id={"type": "string"},
    reason={"type": "string"},
    message={"type": "string"},
    field=_TEXT,
    request={"type": "string", "description": "<topic>/<partition>/<offset> of the request"},
    attempts={"type": "integer"},
    failed_s={"type": "number"},
    written_ms={"type": "integer"},
    nbytes={"type": "integer"},
    omitted={"type": "array", "items": {"type": "string"}},
)
_ROWS = _object(
    ["model", "dead_letters", "more"],
    model={"type": "string"},
    dead_letters={"type": "array", "items": _object(["letter"], letter=_ENTRY, done=_TEXT)},
    more={"type": "boolean"},
)
_DONE = _object(["model", "partition", "offset", "id", "done"], model={"type": "string"}, partition={"type": "integer"},
                offset={"type": "integer"}, id={"type": "string"}, done={"type": "string", "enum": ["replayed", "dropped"]},
                at_s={"type": "number"})  # fmt: skip


def _json(description: str, schema: Schema) -> Schema:
    return {"responses": {"200": {"description": description, "content": {"application/json": {"schema": schema}}}}}


QUEUES = _json("The figures, and how old they are", _QUEUES)
EVENTS: Schema = {
    "responses": {
        "200": {
            "description": "Events named `queues`, the data of each the whole document",
            "content": {"text/event-stream": {}},
        }
    }
}
LETTERS = _json("Of the newest thousand, the newest first; without their payload", _ROWS)
LETTER = _json("With key and headers", {"type": "object"})
VALUE: Schema = {
    "responses": {
        "200": {
            "description": "The bytes of the request",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    }
}
SEEN_TO: Schema = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object", "maxProperties": 0}}}},
    **_json("What was done; 409 if it was seen to before", _DONE),
}
