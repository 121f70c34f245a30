"""Answers of the predict routes: one encode for the whole body, straight from what the pipeline made.

The answer has the same shape whichever form the request had: `{"model", "bundle", "predictions": [...]}`, and `record` where the
row was found by its record id.
"""

from typing import Any

import numpy as np
import orjson

from penstock.errors import Internal, PenstockError
from penstock.serving.exchange import Exchange, fail_for
from penstock_transformer.requests import PredictResponse


def encode_answer(response: PredictResponse) -> bytes:
    """The body of an answer. Raises TypeError if the pipeline put something into it that JSON cannot hold."""
    answer: dict[str, Any] = {"model": response.model, "bundle": response.bundle, "predictions": response.predictions}
    if response.record is not None:
        answer["record"] = response.record
    return dumped(answer)


def dumped(answer: dict[str, Any]) -> bytes:
    """A document as JSON, in one pass unless something in it needs mending. Raises TypeError for what is no JSON at all."""
    try:
        return orjson.dumps(answer, _plain)
    except orjson.JSONEncodeError:
        return orjson.dumps(_mended(answer), _plain)


def _plain(value: Any) -> Any:
    """What a row may echo that is no JSON value: arrays and numbers of numpy as lists and numbers; bytes only by their count."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _mended(value: Any) -> Any:
    """The same without what orjson refuses: integers beyond 64 bits become floats, lone surrogates "?"."""
    if isinstance(value, dict):
        return {_mended(str(key)): _mended(element) for key, element in value.items()}
    if isinstance(value, list):
        return [_mended(element) for element in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if type(value) is int and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 2**1023 else None
    return value


class ExchangeReply:
    """A predict request's way back: a `PredictReply` that answers an exchange."""

    __slots__ = ("_exchange", "_model")

    def __init__(self, exchange: Exchange, model: str) -> None:
        self._exchange = exchange
        self._model = model

    @property
    def disconnected(self) -> bool:
        return self._exchange.disconnected

    def put(self, response: PredictResponse) -> None:
        exchange = self._exchange
        exchange.served_by(self._model, response.bundle)
        try:
            body = self.body(response)
        except TypeError:
            exchange.fail(Internal("the prediction cannot be written as JSON"))
            return
        exchange.answer(200, body)

    def body(self, response: PredictResponse) -> bytes:
        """The answer's bytes; other protocols have another form."""
        return encode_answer(response)

    def error(self, error: PenstockError) -> None:
        fail_for(self._exchange, self._model, error)
