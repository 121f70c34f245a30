"""What is told when a retraining is due: one JSON document, as CloudEvent or as our other webhooks are.

    Retraining --event_of--> document --asked--> (headers, body)      structured: the document as the body
                                                                      binary: attributes as ce-… headers, data as the body
                                                                      plain: {"type", "timestamp", "data"}, as for predictions

No row and no outcome is in it: the receiver reads them from the log with its own rights.

Invariant: a retraining's document is the same at every attempt.

Source: CloudEvents 1.0.2, HTTP protocol binding, sections 3.1 and 3.2.
"""

from typing import Any
from urllib.parse import quote

import orjson

from penstock_transformer.feedback.trigger.bounds import Mode, Watch
from penstock_transformer.feedback.trigger.machine import Retraining
from penstock_transformer.feedback.trigger.window import moment

DUE = "dev.penstock.retraining.due.v1"
PLAIN = "retraining.due"


def data_of(watch: Watch, one: Retraining) -> dict[str, Any]:
    """What the event says: which model and bundle, which part of which log, and why."""
    reasons = [
        {"kind": f.kind, "name": f.name, "value": f.value, "established": f.established, "bound": f.bound, "text": f.text}
        for f in one.reasons
    ]
    found: dict[str, Any] = {
        "id": one.id,
        "model": one.model,
        "bundle": one.label,
        "digest": one.bundle,
        "version": one.version,
        "window": one.window.document(),
        "log": watch.log or None,
        "rows": one.rows,
        "outcomes": one.outcomes,
        "reasons": reasons,
    }
    return {name: value for name, value in found.items() if value is not None}


def event_of(watch: Watch, one: Retraining) -> dict[str, Any]:
    """The CloudEvent."""
    return {
        "specversion": "1.0",
        "id": one.id,
        "source": f"/models/{quote(one.model, safe='')}",
        "type": DUE,
        "subject": one.label,
        "time": moment(one.due_s),
        "datacontenttype": "application/json",
        "data": data_of(watch, one),
    }


def asked(watch: Watch, one: Retraining, mode: Mode) -> tuple[dict[str, str], bytes]:
    """Headers beside the usual ones, and the body."""
    event = event_of(watch, one)
    if mode == "structured":
        return {"content-type": "application/cloudevents+json; charset=utf-8"}, orjson.dumps(event)
    data = event.pop("data")
    if mode == "plain":
        return {}, orjson.dumps({"type": PLAIN, "timestamp": event["time"], "data": data})
    headers = {f"ce-{name}": quote(value, safe=_PRINTABLE) for name, value in event.items() if name != "datacontenttype"}
    return headers, orjson.dumps(data)


# What a header's value holds as it is; everything else is percent-encoded (section 3.1.3.2).
_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
