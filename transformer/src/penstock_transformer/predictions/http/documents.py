"""What HTTP says of a prediction: one document, the same wherever it is shown.

    Prediction, position --document--> {"id", "model", "state", …, "result" | "error", "links"}

A result that is JSON is put in as the bytes that the worker wrote; a binary one is behind its link alone.
"""

from datetime import UTC, datetime
from typing import Any

import orjson

from penstock.errors import ErrorKind
from penstock.serving.status import HTTP_STATUS, problem
from penstock_transformer.predictions.resource import ENDED, Payload, Prediction, State


def encode(prediction: Prediction, position: int | None = None, *, whole: bool = True) -> bytes:
    """The document's bytes; `whole` False leaves the result to its link, as lists do."""
    return orjson.dumps(document(prediction, position, whole=whole))


def document(prediction: Prediction, position: int | None = None, *, whole: bool = True) -> dict[str, Any]:
    """The document. `position`: how many are before it in its queue."""
    found: dict[str, Any] = {"id": prediction.id, "model": prediction.model, "state": prediction.state.value}
    if prediction.state is State.STARTING and position is not None:
        found["position"] = position
    found["rows"] = prediction.rows
    times = ("created", prediction.created_s), ("started", prediction.started_s), ("ended", prediction.ended_s)
    for name, at_s in (*times, ("expires", prediction.expires_s)):
        if at_s is not None:
            found[f"{name}_at"] = moment(at_s)
    if prediction.bundle:
        found["bundle"] = prediction.bundle
    if prediction.idempotency_key is not None:
        found["idempotency_key"] = prediction.idempotency_key
    if prediction.kind is not None:
        found["error"] = orjson.Fragment(error_of(prediction))
    elif whole and prediction.result is not None and prediction.result.body is not None and prediction.result.is_json:
        found["result"] = orjson.Fragment(prediction.result.body)
    found["links"] = _links(prediction)
    return found


def moment(at_s: float) -> str:
    """A time of the Unix epoch as RFC 3339 has it, in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_of(prediction: Prediction) -> bytes:
    """Why a prediction failed, as the problem document that the same error of a predict call would be."""
    return problem(status_of(prediction), prediction.message or "", prediction.kind, prediction.field)


def status_of(prediction: Prediction) -> int:
    """The status that a predict call that failed so would have."""
    try:
        return HTTP_STATUS[ErrorKind(prediction.kind or "")]
    except ValueError:  # `crashed`, which no single request is answered with
        return 500


def length_line(payload: Payload) -> bytes:
    """The header line that says where the JSON part of binary tensors ends; empty for any other payload."""
    wanted = "inference-header-content-length"
    value = next((value for name, value in payload.headers if name.lower() == wanted), None)
    return b"" if value is None else b"inference-header-content-length: %b\r\n" % value


def _links(prediction: Prediction) -> dict[str, str]:
    own = f"/predictions/{prediction.id}"
    links = {"self": own, "input": f"{own}/input", "events": f"{own}/events"}
    if prediction.state not in ENDED:
        links["cancel"] = f"{own}/cancel"
    if prediction.result is not None:
        links["result"] = f"{own}/result"
    return links
