"""An outcome: what turned out to be true of a prediction, hours or days later.

    {"id": prediction, "row": 0, "label": "late" | "value": 12.5, "time": when it was known}

`id` is the prediction's id, or the request's (`X-Request-Id`) where it was answered at once; `row` counts the request's rows.

Invariant: of the outcomes of one row the latest by `time` counts, however often and in whatever order they come; of two with one
time the one that is greater as text, so that every reader agrees.
"""

import math
from typing import Any, NamedTuple

import msgspec
import orjson

from penstock.errors import InvalidInput, UnsupportedType
from penstock_transformer.broker.records import Record
from penstock_transformer.http.record_set import event_time_of
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.headers import by_name, usable_id

REPORTED = b"dev.penstock.outcome.reported.v1"
_MEMBERS = ("id", "row", "label", "value", "time", "model")
_MOST_BYTES = 1 << 16
_LABEL_CHARACTERS = 500
_MOST_ROWS = 2**31 - 1


class Outcome(msgspec.Struct, frozen=True):
    """One row's truth: a `label`, or a `value` (a number, or true and false as 1 and 0). `time` in seconds since 1970;
    `received` when it came here."""

    id: str
    row: int
    time: float
    label: str | None = None
    value: float | None = None
    received: float = 0.0

    @property
    def truth(self) -> str | float | None:
        """Whichever is given."""
        return self.value if self.label is None else self.label


class Told(NamedTuple):
    """A document that was read: the outcome, and the model that it names."""

    outcome: Outcome
    model: str | None


def read_outcome(
    body: bytes, *, received: float, path_id: str | None = None, other_id: str | None = None, time: float | None = None
) -> Told:
    """An outcome's JSON. `other_id` and `time` stand where the document has none, `path_id` is the one that it must name if it
    names one; `received` and `time` in seconds since 1970.

    Raises InvalidInput naming the member at fault.
    """
    if len(body) > _MOST_BYTES:
        raise InvalidInput(f"expected at most {_MOST_BYTES} bytes, got {len(body)}")
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"expected a JSON object: {error}") from None
    if not isinstance(given, dict):
        raise InvalidInput("expected a JSON object with label or value")
    for name in given:
        if name not in _MEMBERS:
            raise InvalidInput(f"unknown; expected some of {', '.join(_MEMBERS)}", field=name[:80])
    identity = _id(given.get("id", path_id or other_id))
    if path_id is not None and identity != path_id:
        raise InvalidInput(f"expected {path_id[:80]!r} as the path has it, got {identity[:80]!r}", field="id")
    label, value = _truth(given)
    moment = received if time is None else time
    if given.get("time") is not None:
        moment = event_time_of(given["time"], "time")
    return Told(Outcome(identity, _row(given.get("row", 0)), moment, label, value, received), _model(given.get("model")))


def _id(given: Any) -> str:
    if given is None:
        raise InvalidInput("missing; expected the prediction's id", field="id")
    if not isinstance(given, str) or usable_id(given.encode("utf-8", "replace")) is None:
        raise InvalidInput(f"expected the prediction's id, got {given!r:.80}", field="id")
    return given


def _row(given: Any) -> int:
    if type(given) is not int or not 0 <= given <= _MOST_ROWS:
        raise InvalidInput(f"expected a row's number in its request, counted from 0, got {given!r:.80}", field="row")
    return given


def _model(given: Any) -> str | None:
    if given is not None and (not isinstance(given, str) or not given):
        raise InvalidInput(f"expected a model's name, got {given!r:.80}", field="model")
    return given


def _truth(given: dict[str, Any]) -> tuple[str | None, float | None]:
    label, value = given.get("label"), given.get("value")
    if label is None and value is None:
        raise InvalidInput("missing; expected label (text) or value (a number, true or false)", field="label")
    if label is not None and value is not None:
        raise InvalidInput("expected label or value, not both", field="value")
    if label is not None:
        if not isinstance(label, str) or not 0 < len(label) <= _LABEL_CHARACTERS:
            raise InvalidInput(f"expected text of 1 to {_LABEL_CHARACTERS} characters, got {label!r:.80}", field="label")
        return label, None
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(f"expected a number, true or false, got {value!r:.80}", field="value")
    return None, float(value)


def write_outcome(outcome: Outcome) -> bytes:
    """As `read_outcome` reads it, `received` left out."""
    found: dict[str, Any] = {"id": outcome.id, "row": outcome.row, "time": outcome.time}
    found["value" if outcome.label is None else "label"] = outcome.truth
    return orjson.dumps(found)


def outcome_of(record: Record, *, received: float) -> Outcome:
    """A record of `<model>.outcomes`: its value, with `ce_id` where that has no id; the time is the value's, else `ce_time`, else
    the record's own. Raises InvalidInput, UnsupportedType."""
    headers = by_name(record.headers)
    kind = headers.get(names.CONTENT_TYPE, b"").decode("latin-1").partition(";")[0].strip().lower()
    if kind not in ("", "application/json"):
        raise UnsupportedType(f"expected application/json, got {kind[:100]!r}", field=names.CONTENT_TYPE)
    if not record.value:
        raise InvalidInput("expected a JSON object, got an empty record")
    stated = headers.get(names.TIME)
    own = record.timestamp_ms / 1e3
    moment = own if stated is None else event_time_of(stated.decode("utf-8", "replace"), names.TIME)
    told = read_outcome(record.value, received=received, time=moment, other_id=usable_id(headers.get(names.ID)))
    return told.outcome


def newer(one: Outcome, other: Outcome) -> Outcome:
    """Which of two outcomes of a row counts."""
    return max(one, other, key=lambda o: (o.time, o.label is None, str(o.truth)))
