"""The topics `<model>.log` and `<model>.outcomes` for the AsyncAPI document of a model that logs to Kafka.

    LoggedRequest, Outcome --schemas--> components of `/asyncapi.json`

Invariant: the schema of a logged prediction is made of the structure that is written, not beside it.
"""

from typing import Any

import msgspec

from penstock_transformer.feedback.document import LoggedRequest
from penstock_transformer.feedback.kafka import log_topic, outcomes_topic
from penstock_transformer.worker import headers as names

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_REFERENCE = "#/components/schemas/{name}"
MESSAGES = {
    "logged": ("Logged prediction", "A request that was drawn: its rows, what the store had for them, and the answer"),
    "outcome": ("Outcome", "What turned out to be true of one row; of several of a row the latest `time` counts"),
}
"""Title and summary; payload and headers are schemas of the same name, `…` and `…Headers`."""
EXAMPLES: dict[str, Schema] = {"outcome": {"id": "6f1c", "row": 0, "label": "late", "time": "2026-01-31T12:00:00Z"}}


def channels(model: str) -> dict[str, tuple[str, str, list[str]]]:
    """Topic, summary and messages of each channel."""
    return {
        "log": (log_topic(model), "What was asked and answered, a sample of it", ["logged"]),
        "outcomes": (outcomes_topic(model), "What turned out to be true, hours or days later", ["outcome"]),
    }


ACTIONS = {"log": ("send", "logPrediction"), "outcomes": ("send", "tellOutcome")}
"""Whoever else knows outcomes may write them there, too."""


def schemas() -> dict[str, Schema]:
    """Of values and headers, by name."""
    (_, ours) = msgspec.json.schema_components([LoggedRequest], ref_template=_REFERENCE)
    event = dict.fromkeys((names.SPECVERSION, names.ID, names.SOURCE, names.TYPE, names.CONTENT_TYPE), _TEXT)
    event[names.TIME] = {"type": "string", "format": "date-time"}
    logged = {**event, names.BUNDLE: {"type": "string", "description": "name@sha256:…, which made the prediction"}}
    return {
        **ours,
        "logged": {"$ref": _REFERENCE.format(name="LoggedRequest")},
        "loggedHeaders": {"type": "object", "properties": logged, "required": sorted(logged)},
        "outcome": _outcome(),
        "outcomeHeaders": {"type": "object", "properties": event},
    }


def _outcome() -> Schema:
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "The prediction's or the request's; the header ce_id where it is left out"},
            "row": {"type": "integer", "minimum": 0, "default": 0, "description": "Which of the request's rows"},
            "label": {"type": "string", "description": "The true label"},
            "value": {"type": ["number", "boolean"], "description": "The true number, or true or false"},
            "time": {"type": ["string", "number"], "description": "When it was known; else ce_time, else the record's own"},
            "model": _TEXT,
        },
        "oneOf": [{"required": ["label"]}, {"required": ["value"]}],
        "additionalProperties": False,
    }
