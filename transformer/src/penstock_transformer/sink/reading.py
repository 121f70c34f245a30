"""A record of `<model>.predictions` or `<model>.dead-letters` as the ending of a prediction.

    prediction  -> succeeded: its value or the reference to it, the headers that say how to read it, its bundle
    dead letter -> failed: reason, message and field as they were written

Invariant: `read_ending` raises nothing: a record that is none of these is None, and left behind.
"""

from penstock_transformer.broker.records import Headers, Record
from penstock_transformer.broker.topics import dead_letters_topic, predictions_topic
from penstock_transformer.predictions.object_names import stated_bytes
from penstock_transformer.predictions.resource import Ending, Payload, State
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.dead_letters import read_letter
from penstock_transformer.worker.headers import by_name, usable_id

_PREDICTIONS, _DEAD_LETTERS = predictions_topic(""), dead_letters_topic("")
_FORM = (names.CONTENT_TYPE, names.HEADER_LENGTH)


def read_ending(record: Record) -> Ending | None:
    """The ending that a record tells; None for a record of another kind, or without an id of its own."""
    if record.partition.topic.endswith(_PREDICTIONS):
        return _succeeded(record)
    return _failed(record) if record.partition.topic.endswith(_DEAD_LETTERS) else None


def _succeeded(record: Record) -> Ending | None:
    given = by_name(record.headers)
    identity = usable_id(given.get(names.ID))
    form: Headers = tuple((name, given[name]) for name in _FORM if name in given)
    payload = _payload(record.value, given.get(names.REFERENCE), form)
    if identity is None or payload is None:
        return None
    return Ending(
        identity,
        State.SUCCEEDED,
        payload,
        bundle=given.get(names.BUNDLE, b"").decode("utf-8", "replace"),
        ended_s=record.timestamp_ms / 1e3,
        replayed=names.REPLAYED in given,
    )


def _payload(value: bytes | None, reference: bytes | None, form: Headers) -> Payload | None:
    """The answer itself, or where it lies; None if it is neither. The reference is checked by whoever reads what it leads to."""
    if value:
        return Payload(value, form, len(value))
    if reference is not None:
        text = reference.decode("utf-8", "replace")
        return Payload(None, form, stated_bytes(text), text)
    return None if value is None else Payload(value, form, 0)


def _failed(record: Record) -> Ending | None:
    letter = read_letter(record)
    if letter.foreign:
        return None
    return Ending(
        letter.id,
        State.FAILED,
        kind=letter.reason,
        message=letter.message,
        field=letter.field,
        ended_s=record.timestamp_ms / 1e3 if letter.failed_s is None else letter.failed_s,
        replayed=names.REPLAYED in by_name(letter.headers),
    )
