"""What is asked of predictions less often, over the web framework: lists, cancelling, inputs, results, events.

Whose predictions a caller sees is decided by the guard's caller alone; somebody else's id is as unknown as one that never was.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from penstock.errors import InvalidInput
from penstock.serving.asgi import plain_response
from penstock_transformer.http.records import Strict
from penstock_transformer.predictions.http.asking import seen_by
from penstock_transformer.predictions.http.documentation import CANCEL, EVENTS, LIST, PAYLOAD
from penstock_transformer.predictions.http.documents import document, encode, length_line
from penstock_transformer.predictions.http.events import PredictionEvents
from penstock_transformer.predictions.port import Filter
from penstock_transformer.predictions.resource import JSON, Payload, State
from penstock_transformer.predictions.service import PredictionService

LARGEST_PAGE = 1000

Id = Annotated[str, Path(description="A prediction's id")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
# Spelled out: the document of the API has it in the parameter itself.
StateName = Literal["starting", "processing", "succeeded", "failed", "canceled"]
When = Annotated[str | None, Query(description="RFC 3339, or seconds since 1970")]


def predictions_router(service: PredictionService) -> APIRouter:
    """The routes of `/predictions` that are not hot."""
    router = APIRouter(tags=["predictions"], route_class=Strict)
    routes = PredictionRoutes(service)
    add = router.add_api_route
    one = "/predictions/{prediction_id}"
    add("/predictions", routes.page, methods=["GET"], summary="Your predictions, newest first, a page at a time",
        openapi_extra=LIST)  # fmt: skip
    add(f"{one}/cancel", routes.cancel, methods=["POST"], summary="Cancel a prediction that has not ended", openapi_extra=CANCEL)
    add(f"{one}/input", routes.input, methods=["GET"], summary="What was asked, as it is kept", openapi_extra=PAYLOAD)
    add(f"{one}/result", routes.result, methods=["GET"], summary="What came of it, as it was written", openapi_extra=PAYLOAD)
    add(f"{one}/events", routes.events, methods=["GET"], summary="Its states as they come, as server-sent events",
        openapi_extra=EVENTS, response_class=Response)  # fmt: skip
    return router


class PredictionRoutes:
    """The endpoints."""

    def __init__(self, service: PredictionService) -> None:
        self._service = service

    async def page(
        self,
        request: Request,
        model: str | None = None,
        state: StateName | None = None,
        after: When = None,
        before: When = None,
        cursor: str | None = None,
        limit: Limit = 100,
    ) -> Response:
        """`GET /predictions`."""
        owner = seen_by(request.scope.get("caller"))
        known = None if state is None else State(state)
        wanted = Filter(owner, model, known, _seconds(after, "after"), _seconds(before, "before"))
        found = await self._service.find(wanted, limit, cursor)
        listed = [document(prediction, whole=False) for prediction in found.predictions]
        return _json(orjson.dumps({"predictions": listed, "cursor": found.cursor}))

    async def cancel(self, request: Request, prediction_id: Id) -> Response:
        """`POST /predictions/{id}/cancel`."""
        return _json(encode(await self._service.cancel(prediction_id, seen_by(request.scope.get("caller")))))

    async def input(self, request: Request, prediction_id: Id) -> Response:
        """`GET /predictions/{id}/input`."""
        return _payload(await self._service.input(prediction_id, seen_by(request.scope.get("caller"))))

    async def result(self, request: Request, prediction_id: Id) -> Response:
        """`GET /predictions/{id}/result`."""
        return _payload(await self._service.result(prediction_id, seen_by(request.scope.get("caller"))))

    async def events(self, request: Request, prediction_id: Id) -> Response:
        """`GET /predictions/{id}/events`."""
        events = PredictionEvents(self._service, prediction_id, seen_by(request.scope.get("caller")))
        return await events.answer(request.headers.get("last-event-id"))


def _seconds(text: str | None, field: str) -> float | None:
    """Seconds since 1970 of a time in a query; without an offset it is UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromtimestamp(float(text), UTC) if _is_number(text) else datetime.fromisoformat(text.replace(" ", "+"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(f"expected a time such as 2026-01-31T12:00:00Z, got {text!r:.80}", field=f"query.{field}") from None


def _is_number(text: str) -> bool:
    return len(text) < 20 and text.replace(".", "", 1).isdigit()


def _payload(payload: Payload) -> Response:
    return plain_response(200, payload.body or b"", payload.content_type, length_line(payload))


def _json(body: bytes) -> Response:
    return plain_response(200, body, JSON, b"")
