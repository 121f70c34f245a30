"""`POST /predictions/{id}/outcome`: what turned out to be true of a prediction.

    body, caller --Outcome--> whose prediction is it? --> Feedback.report --> 202

Whoever may see a prediction may tell its outcome; anybody else's id is as unknown as one that never was. One that was answered at
once is kept nowhere but in the log: for those scope `predict` of the model is what it takes.

Invariant: an answer of 202 goes out only after the outcome is kept.
"""

import logging
import time
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response

from penstock.errors import Forbidden, InvalidInput, NotFound, UpstreamUnavailable
from penstock.serving.asgi import plain_response, read_body
from penstock.serving.security.scopes import PREDICT, wanted
from penstock_transformer.feedback.opening import Feedback
from penstock_transformer.feedback.outcome import Told, read_outcome
from penstock_transformer.http.records import Strict
from penstock_transformer.predictions.http.asking import seen_by
from penstock_transformer.predictions.service import PredictionService
from penstock_transformer.worker.headers import usable_id

logger = logging.getLogger(__name__)

_BODY_BYTES = 1 << 16
_JSON = b"application/json"
_DOCUMENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "label": {"type": "string", "description": "The true label"},
                        "value": {"description": "The true number, or true or false", "type": ["number", "boolean"]},
                        "row": {"type": "integer", "minimum": 0, "default": 0, "description": "Which of the request's rows"},
                        "time": {"type": ["string", "number"], "description": "When it was known; now, if it is left out"},
                        "model": {"type": "string", "description": "Needed where several models are served"},
                    },
                },
                "examples": {"label": {"value": {"label": "late"}}, "value": {"value": {"value": 12.5, "row": 3}}},
            }
        },
    }
}


def outcomes_router(feedback: Feedback, models: Sequence[str], service: PredictionService | None) -> APIRouter:
    """The route. `models` are those that are served; `service` knows the predictions that were handed in, if any can be."""
    router = APIRouter(tags=["predictions"], route_class=Strict)
    routes = OutcomeRoutes(feedback, models, service)
    router.add_api_route(
        "/predictions/{prediction_id}/outcome",
        routes.report,
        methods=["POST"],
        status_code=202,
        summary="Tell what turned out to be true of a prediction",
        openapi_extra=_DOCUMENT,
    )
    return router


class OutcomeRoutes:
    """The endpoint."""

    def __init__(self, feedback: Feedback, models: Sequence[str], service: PredictionService | None) -> None:
        self._feedback = feedback
        self._models = tuple(models)
        self._service = service

    async def report(
        self, request: Request, prediction_id: Annotated[str, Path(description="A prediction's id, or a request's")]
    ) -> Response:
        """`POST /predictions/{id}/outcome`."""
        if usable_id(prediction_id.encode("utf-8", "replace")) is None:
            raise NotFound(f"no prediction {prediction_id[:80]!r}")
        body = await read_body(request, _BODY_BYTES)
        told = read_outcome(body, received=time.time(), path_id=prediction_id)
        model = await self._model_of(told, request.scope.get("caller"))
        try:
            await self._feedback.report(model, told.outcome)
        except (UpstreamUnavailable, OSError) as error:
            logger.warning("an outcome cannot be kept at present", extra={"model": model, "reason": str(error)})
            raise UpstreamUnavailable("the outcome cannot be kept at present; tell it again") from None
        outcome = told.outcome
        shown = {"id": outcome.id, "model": model, "row": outcome.row, "time": outcome.time}
        shown["value" if outcome.label is None else "label"] = outcome.truth
        return plain_response(202, orjson.dumps(shown), _JSON, b"")

    async def _model_of(self, told: Told, caller: Any) -> str:
        """The prediction's model. Raises NotFound for somebody else's, Forbidden, InvalidInput."""
        identity = told.outcome.id
        if self._service is not None and await self._service.knows(identity):
            prediction, _ = await self._service.get(identity, seen_by(caller))
            if told.model not in (None, prediction.model):
                raise InvalidInput(f"expected {prediction.model!r}, whose prediction this is", field="model")
            return prediction.model
        model = told.model or (self._models[0] if len(self._models) == 1 else None)
        if model not in self._models:
            raise InvalidInput(f"expected one of {', '.join(sorted(self._models))}", field="model")
        assert model is not None
        if caller is not None and not caller.anonymous and not caller.may(PREDICT, model):
            scope = wanted(PREDICT, model)
            raise Forbidden(f"telling outcomes of {model} takes scope {scope}", scope=scope)
        return model
