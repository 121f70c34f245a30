"""One batch to its answers: a row that the bundle refuses gets its error, and the others their predictions.

    batch -> predict -> all answered
                     \\-> rows[i] refused -> again without it, a few times -> each row alone

An overloaded server is waited for: bulk has time, and its caller has said nothing of a hurry unless by a deadline.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

from penstock.dataplane import Context, FutureReply
from penstock.errors import InvalidInput, Overloaded, PenstockError
from penstock_transformer.http.bulk.batch import Answer, Batch
from penstock_transformer.http.plane import PredictPlane
from penstock_transformer.requests import PredictRequest, PredictResponse

# Refused rows after which the rest of a batch is asked for row by row: better than once more for each bad one.
_TRIES = 4
# How long a batch waits, in all, for a server that has too much to do.
PATIENCE_S = 20.0
_PLACE = re.compile(r"^rows\[(\d+)\]\.?(.*)$", re.DOTALL)


class Resolver:
    """Predicts the batches of one bulk request."""

    def __init__(self, plane: PredictPlane, model: str, context: Context) -> None:
        self.options: dict[str, Any] | None = None
        self._plane = plane
        self._model = model
        self.context = context

    async def resolve(self, batch: Batch) -> list[Answer]:
        """An answer for each entry, in order."""
        answers: list[Any] = [None] * len(batch.numbers)
        for at, fault in batch.faults.items():
            answers[at] = fault
        places = batch.places
        todo = list(range(len(places)))
        for _ in range(_TRIES):
            if not todo:
                return answers
            try:
                predictions = await self._predict(batch, todo)
            except PenstockError as error:
                row_at, renamed = _at_fault(error, len(todo))
                if row_at is None:
                    for row in todo:
                        answers[places[row]] = renamed
                    return answers
                answers[places[todo.pop(row_at)]] = renamed
            else:
                for row, prediction in zip(todo, predictions, strict=True):
                    answers[places[row]] = prediction
                return answers
        for row, answer in zip(todo, await asyncio.gather(*(self._alone(batch, row) for row in todo)), strict=True):
            answers[places[row]] = answer
        return answers

    async def _alone(self, batch: Batch, row: int) -> Answer:
        try:
            return (await self._predict(batch, [row]))[0]
        except PenstockError as error:
            return _at_fault(error, 1)[1]

    async def _predict(self, batch: Batch, rows: Sequence[int]) -> list[dict[str, Any]]:
        waited_until = time.monotonic() + PATIENCE_S
        while True:
            reply: FutureReply[PredictResponse] = FutureReply()
            part = batch.part(rows)
            self._plane.predict(PredictRequest(self._model, self.context, options=self.options, **part), reply)
            try:
                response = await reply.future
            except Overloaded as error:
                pause_s = max(error.retry_after_s, 0.01)
                if time.monotonic() + pause_s > waited_until:
                    raise
                await asyncio.sleep(pause_s)
            else:
                batch.bundle = response.bundle
                return response.predictions


def _at_fault(error: PenstockError, rows: int) -> tuple[int | None, PenstockError]:
    """Which of the rows asked for an error is about (None: about all), and the error with the field as the row names it."""
    found = _PLACE.match(error.field or "") if isinstance(error, InvalidInput) else None
    if found is None or int(found[1]) >= rows:
        return None, error
    renamed = type(error)(error.message, field=found[2] or None)
    renamed.bundle = error.bundle
    return int(found[1]), renamed
