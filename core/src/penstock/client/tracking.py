"""The calls of asynchronous predictions: submitted once, asked after by their id, from whatever process.

A submission carries an idempotency key, its own or one made here, so that sending it again makes no second prediction.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from penstock.client.call import Answer, Call, path_of
from penstock.client.predicting import dumped
from penstock.client.reading import document_of, prediction_of
from penstock.client.results import AsyncPrediction, AsyncPredictionPage
from penstock.errors import DeadlineExceeded, UpstreamUnavailable

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
"""Between two looks at a prediction that is waited for; doubling from the first to the longest."""
LONGEST_LOOK_S = 20.0
"""The server keeps one look back for so long at most, until the prediction has ended."""


class Looks:
    """The pauses between looks at a prediction that is waited for at most `timeout_s`."""

    def __init__(self, timeout_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline = None if timeout_s is None else clock() + timeout_s
        self._next_s = FIRST_PAUSE_S

    def look_s(self, timeout_s: float | None) -> float:
        """How long the server may keep the next look, of which the caller waits `timeout_s` for the answer."""
        left_s = LONGEST_LOOK_S if self._deadline is None else max(0.0, self._deadline - self._clock())
        return min(LONGEST_LOOK_S, left_s, LONGEST_LOOK_S if timeout_s is None else timeout_s / 2)

    def pause_s(self) -> float:
        """How long to pause now. Raises DeadlineExceeded if the time is over."""
        left_s = LONGEST_PAUSE_S if self._deadline is None else self._deadline - self._clock()
        if left_s <= 0:
            raise DeadlineExceeded("the prediction has not ended in the time given")
        pause_s, self._next_s = self._next_s, min(LONGEST_PAUSE_S, 2 * self._next_s)
        return min(pause_s, left_s)


def submit(model: str, rows: Sequence[Mapping[str, Any]], idempotency_key: str | None) -> Call[AsyncPrediction]:
    return submit_body(model, dumped({"rows": list(rows)}), "application/json", idempotency_key)


def submit_body(model: str, body: bytes, content_type: str, idempotency_key: str | None) -> Call[AsyncPrediction]:
    headers = {"content-type": content_type, "idempotency-key": idempotency_key or uuid.uuid4().hex}
    return Call("POST", path_of("/models/{}/predictions", model), async_prediction_of, body, headers, outlives=True)


def look(id: str, wait_s: float = 0) -> Call[AsyncPrediction]:
    """How it stands; with `wait_s` the server answers at its end, or after that time."""
    headers = {"prefer": f"wait={int(wait_s)}"} if wait_s >= 1 else {}
    return Call("GET", path_of("/predictions/{}", id), async_prediction_of, headers=headers)


def find(
    model: str | None, state: str | None, after: datetime | None, before: datetime | None, cursor: str | None, limit: int
) -> Call[AsyncPredictionPage]:
    times = {name: None if at is None else at.isoformat() for name, at in (("after", after), ("before", before))}
    path = path_of("/predictions", model=model, state=state, cursor=cursor, limit=limit, **times)
    return Call("GET", path, async_page_of)


def cancel(id: str) -> Call[AsyncPrediction]:
    return Call("POST", path_of("/predictions/{}/cancel", id), async_prediction_of)


def async_page_of(answer: Answer) -> AsyncPredictionPage:
    """A page of predictions, without their results."""
    document = document_of(answer)
    found = document.get("predictions")
    if not isinstance(found, list):
        raise UpstreamUnavailable("the answer holds no predictions")
    return AsyncPredictionPage(tuple(_read(one, answer) for one in found), document.get("cursor"))


def async_prediction_of(answer: Answer) -> AsyncPrediction:
    """What the server says of a prediction. Raises UpstreamUnavailable if it says nothing of the kind."""
    return _read(document_of(answer), answer)


def _read(document: dict[str, Any], answer: Answer) -> AsyncPrediction:
    id, state = document.get("id"), document.get("state")
    if not (isinstance(id, str) and isinstance(state, str)):
        raise UpstreamUnavailable("the answer holds no id and state of a prediction")
    result = document.get("result")
    found = result if isinstance(result, dict) else {}
    bundle = str(found.get("bundle") or document.get("bundle") or answer.bundle)
    predictions = tuple(prediction_of(item, bundle) for item in found.get("predictions") or ())
    error = document.get("error")
    if isinstance(error, dict):
        error = error.get("detail")
    return AsyncPrediction(id, state, str(document.get("model") or ""), bundle, predictions, error, document)
