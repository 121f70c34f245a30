"""The headers of requests, predictions and dead letters as JSON Schema, for the AsyncAPI document."""

from typing import Any

from penstock_transformer.worker import headers as names

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}


def header_schemas() -> dict[str, Schema]:
    """By the name under which the document's messages refer to them."""
    event = dict.fromkeys((names.SPECVERSION, names.ID, names.SOURCE, names.TYPE), _TEXT)
    event |= {names.TIME: {"type": "string", "format": "date-time"}, names.TRACEPARENT: _TEXT}
    length = {
        names.HEADER_LENGTH: {"type": "string", "pattern": "^[0-9]+$", "description": "bytes of the JSON before the tensors"}
    }
    asked = event | {
        names.CONTENT_TYPE: {"type": "string", "description": "application/json where it is missing"},
        names.TIMEOUT_MS: {"type": "string", "pattern": "^[0-9]+$", "description": "counted from the record's timestamp"},
        names.PRIORITY: {"type": "string", "pattern": "^-?[0-9]{1,4}$", "description": "lower is sooner, 0 is normal"},
        names.ROUTE_KEY: {"type": "string", "description": "requests with the same go to the same bundle"},
        names.EXPECT_BUNDLE: {"type": "string", "description": "sha256:…, which alone may answer"},
        names.REFERENCE: {"type": "string", "description": "where the value is, if the record has none"},
    }
    answered = event | {
        names.CONTENT_TYPE: _TEXT,
        names.BUNDLE: {"type": "string", "description": "name@sha256:…, which made the prediction"},
        names.REFERENCE: {"type": "string", "description": "where a large value is; the record has none then"},
        names.POSITION: {"type": "string", "description": "topic/partition/offset of the request"},
    }
    needed = [names.SPECVERSION, names.ID, names.SOURCE, names.TYPE, names.TIME, names.CONTENT_TYPE, names.BUNDLE, names.POSITION]
    refused = asked | {
        names.REPLAYED: {"type": "string", "description": "topic/partition/offset of the dead letter that it was before"},
        names.REASON: {"type": "string", "description": "a kind of error, or `crashed`"},
        names.MESSAGE: _TEXT,
        names.FIELD: {"type": "string", "description": "the field at fault, as in rows[3].carrier"},
        names.POSITION: {"type": "string", "description": "topic/partition/offset of the request"},
        names.ATTEMPTS: {"type": "string", "pattern": "^[0-9]+$"},
        names.FAILED_AT: {"type": "string", "format": "date-time"},
    }
    return {
        "requestHeaders": {"type": "object", "properties": asked},
        "binaryRequestHeaders": {"type": "object", "properties": asked | length, "required": [names.HEADER_LENGTH]},
        "answerHeaders": {"type": "object", "properties": answered, "required": needed},
        "binaryAnswerHeaders": {"type": "object", "properties": answered | length, "required": [*needed, names.HEADER_LENGTH]},
        "deadLetterHeaders": {
            "type": "object",
            "properties": refused,
            "required": [names.REASON, names.MESSAGE, names.POSITION, names.ATTEMPTS, names.FAILED_AT, names.ID],
        },
    }
