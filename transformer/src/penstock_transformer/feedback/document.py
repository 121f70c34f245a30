"""What is logged of a request, as JSON: one document a request, the same on Kafka and in a folder.

    {"formatVersion": 1, "id": …, "time": …, "model": …, "bundle": "sha256:…", …,
     "rows": [{"row": {…}, "fetched": {set: {"view", "key", "time", "values": {column: value}}}, "answer": {…}}]}

`row` is what the caller sent, `fetched` what the feature store had for it and since when, `answer` what came out. `time` is the
clock that ages were judged by. With these three a prediction can be made again without the store.

Invariant: a number that is read back is the number that was written, bit for bit; bytes are base64, an infinity is the text
`Infinity`, NaN is null.
"""

import math
from base64 import b64encode
from typing import Any

import msgspec
import numpy as np

from penstock.errors import InvalidInput

FORMAT = 1
_NO_ANSWER = frozenset({"data", "ages_s", "degraded"})


class Fetched(msgspec.Struct):
    """What one set's view had for a row. `key` None: the row has none; `time`, seconds since 1970, None: there is nothing."""

    view: str
    key: list[Any] | None
    time: float | None
    values: dict[str, Any]


class LoggedRow(msgspec.Struct):
    """One row of a request. `record` is the id of its record, where the model has records."""

    row: dict[str, Any]
    fetched: dict[str, Fetched]
    answer: dict[str, Any]
    record: str | None = None


class LoggedRequest(msgspec.Struct, rename={"format_version": "formatVersion"}):
    """One request. `chance`: with which it was logged. `shadow`: nobody was answered with this. `revision`: of the route that
    chose the bundle; None where the request named it. `costs`: what the bundle's card says that wrong answers cost."""

    id: str
    time: float
    model: str
    bundle: str
    name: str
    version: str | None
    chance: float
    rows: list[LoggedRow]
    route_key: str | None = None
    shadow: bool = False
    degraded: bool = False
    revision: int | None = None
    costs: dict[str, Any] | None = None
    format_version: int = FORMAT


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LoggedRequest).decode


def write_request(logged: LoggedRequest) -> bytes:
    """The document's bytes, without a line end."""
    return _encode(logged)


def read_request(document: bytes) -> LoggedRequest:
    """Raises InvalidInput for what is no such document, or one of a newer format."""
    try:
        logged = _decode(document)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(f"expected a logged prediction: {error}"[:500]) from None
    if logged.format_version > FORMAT:
        raise InvalidInput(f"expected at most {FORMAT}, got {logged.format_version}", field="formatVersion")
    return logged


def answer_of(prediction: dict[str, Any]) -> dict[str, Any]:
    """What is logged of a prediction: all but what stands in `row`, `fetched` and their times already."""
    return {name: value for name, value in prediction.items() if name not in _NO_ANSWER}


def logged_value(value: Any) -> Any:
    """A value as JSON holds it exactly."""
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, np.ndarray):
        return logged_value(value.tolist())
    if isinstance(value, np.generic):
        return logged_value(value.item())
    if isinstance(value, list | tuple):
        return [logged_value(one) for one in value]
    if isinstance(value, dict):
        return {name: logged_value(one) for name, one in value.items()}
    return str(value)
