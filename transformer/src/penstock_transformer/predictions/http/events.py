"""A prediction's states as server-sent events and as messages of a stream, the result with the last.

    service.follow --State--> `event: processing`, `id: 2`, `data: {document}`

On a stream the same are messages, `{"event": "processing", "prediction": {document}}`, to who said `{"subscribe": id}`.

An event's id is its stage: 1 queued, 2 being processed, 3 ended. Who comes back with `Last-Event-ID` is told what followed; who
has seen the end is answered 204, which tells an `EventSource` to come no more.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack

import orjson
from fastapi import Response

from penstock.errors import PenstockError
from penstock.serving.events import HEARTBEAT_S, format_event
from penstock.serving.faults import fault
from penstock.serving.followed_events import FollowedEvents
from penstock.serving.security.scopes import Caller
from penstock_transformer.predictions.http.asking import seen_by
from penstock_transformer.predictions.http.documents import encode
from penstock_transformer.predictions.resource import State, stage
from penstock_transformer.predictions.service import PredictionService

logger = logging.getLogger(__name__)

_LAST_STAGE = 3


class PredictionEvents:
    """The events of one prediction for one reader."""

    def __init__(
        self, service: PredictionService, prediction_id: str, owner: str | None, *, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self._service = service
        self._id = prediction_id
        self._owner = owner
        self._heartbeat_s = heartbeat_s

    async def answer(self, last_id: str | None) -> Response:
        """The response. Raises NotFound, Overloaded before anything is sent."""
        await self._service.get(self._id, self._owner)
        seen = int(last_id) if last_id is not None and last_id.isdecimal() and len(last_id) < 4 else 0
        if seen >= _LAST_STAGE:
            return Response(status_code=204)
        following = AsyncExitStack()
        states = await following.enter_async_context(self._service.follow(self._id))
        return FollowedEvents(self._events(states, seen), following, self._heartbeat_s)

    async def _events(self, states: AsyncIterator[State], seen: int) -> AsyncGenerator[bytes]:
        try:
            async for state in states:
                if stage(state) + 1 > seen:
                    yield await self._event(state)
        except PenstockError:
            return  # the connection ends, and an EventSource asks again from where it was

    async def _event(self, state: State) -> bytes:
        prediction, position = await self._service.get(self._id, self._owner)
        # What is read may be further on than what was told; its own event follows then, and says the same.
        return format_event(encode(prediction, position), id=str(stage(state) + 1), event=state.value)


class StreamEvents:
    """Implements `penstock.serving.websocket.subscriptions.Follow` for predictions."""

    def __init__(self, service: PredictionService) -> None:
        self._service = service

    def __call__(
        self, subject: str, caller: Caller | None, tell: Callable[[bytes], None], ended: Callable[[PenstockError | None], None]
    ) -> Callable[[], None]:
        task = self._service.spawn(self._follow(subject, seen_by(caller), tell, ended))

        def stop() -> None:
            task.cancel()

        return stop

    async def _follow(
        self,
        prediction_id: str,
        owner: str | None,
        tell: Callable[[bytes], None],
        ended: Callable[[PenstockError | None], None],
    ) -> None:
        try:
            await self._service.get(prediction_id, owner)
            async with self._service.follow(prediction_id) as states:
                async for state in states:
                    prediction, position = await self._service.get(prediction_id, owner)
                    told = {"event": state.value, "prediction": orjson.Fragment(encode(prediction, position))}
                    tell(orjson.dumps(told))
        except PenstockError as error:
            ended(error)
        except Exception as error:
            ended(fault(logger, "prediction could not be followed", error, prediction_id))
        else:
            ended(None)
