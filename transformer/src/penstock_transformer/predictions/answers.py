"""What a worker wrote, as the ending of a prediction: the same headers, whether they come over Kafka or from the table's queue.

<model>.predictions --answer_of--> succeeded        <model>.dead-letters --letter_of--> failed
"""

from penstock_transformer.broker.records import Headers
from penstock_transformer.predictions.resource import Ending, Payload, State
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.headers import by_name, usable_id

_FORM = (names.CONTENT_TYPE, names.HEADER_LENGTH)


def answer_of(value: bytes | None, headers: Headers) -> Ending | None:
    """The ending that a prediction's record is; None if it names no id."""
    found = by_name(headers)
    prediction_id = usable_id(found.get(names.ID))
    if prediction_id is None:
        return None
    form = tuple((name, found[name]) for name in _FORM if name in found)
    reference = _text(found, names.REFERENCE)
    body = None if reference is not None else value or b""
    payload = Payload(body, form, len(value or b""), reference)
    return Ending(prediction_id, State.SUCCEEDED, payload, bundle=_text(found, names.BUNDLE) or "")


def letter_of(headers: Headers) -> Ending | None:
    """The ending that a dead letter is; None if it names no id."""
    found = by_name(headers)
    prediction_id = usable_id(found.get(names.ID))
    if prediction_id is None:
        return None
    return Ending(
        prediction_id,
        State.FAILED,
        bundle=_text(found, names.BUNDLE) or "",
        kind=_text(found, names.REASON) or "internal",
        message=_text(found, names.MESSAGE),
        field=_text(found, names.FIELD),
    )


def _text(found: dict[str, bytes], name: str) -> str | None:
    value = found.get(name)
    return None if value is None else value.decode("utf-8", "replace")
