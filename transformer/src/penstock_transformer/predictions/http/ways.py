"""The hot routes of predictions: handing one in, looking at one, and predict where it is answered later.

    Exchange --headers, body--> Intake --NewPrediction--> PredictionService.submit --> 202, or 200 once it has ended
                                  \\-- a thread for a large body

Invariant: an answer of 202 goes out only after the prediction is in the store.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from penstock.dataplane import Context
from penstock.errors import NotReady, PenstockError
from penstock.failpoints import failpoint
from penstock.protocol.limits import Limits
from penstock.serving.context import read_context
from penstock.serving.exchange import Exchange
from penstock.serving.faults import fault
from penstock.serving.infer import refuse_encoding
from penstock.serving.security.middleware import caller_of
from penstock.serving.status import PROBLEM, problem
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.http.prefer import Preference, read_prefer
from penstock_transformer.http.several import TransformerPlane
from penstock_transformer.predictions.http.asking import new_prediction, owner_of, seen_by
from penstock_transformer.predictions.http.documents import encode, error_of, length_line, status_of
from penstock_transformer.predictions.port import KeyReused
from penstock_transformer.predictions.resource import ENDED, NewPrediction, Prediction
from penstock_transformer.predictions.service import PredictionService
from penstock_transformer.predictions.submission import Accepted, Body, Intake

logger = logging.getLogger(__name__)


class PredictionWays:
    """The handlers over one service."""

    def __init__(
        self,
        plane: TransformerPlane,
        service: PredictionService,
        *,
        limits: Limits | None = None,
        ways: WayInLimits | None = None,
    ) -> None:
        self._plane = plane
        self._service = service
        self._limits = limits or Limits()
        self._ways = ways or WayInLimits()
        self.async_rows = service.settings.async_rows
        self._intakes: dict[str, Intake] = {}

    def post(self, exchange: Exchange) -> None:
        """`POST /models/{m}/predictions`. Raises PenstockError for what is wrong with the headers."""
        context = read_context(exchange)
        self._answering(exchange, self._submitted(exchange, context, read_prefer(exchange.header(b"prefer"))))

    def show(self, exchange: Exchange) -> None:
        """`GET /predictions/{id}`; with `Prefer: wait=n` kept back until it has ended, or for so long."""
        self._answering(exchange, self._shown(exchange))

    def instead(self, exchange: Exchange, context: Context, preference: Preference) -> None:
        """Answer a predict request later: it asks for that, or has many rows. Raises as `post`."""
        self._answering(exchange, self._predicted(exchange, context, preference))

    def _answering(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        self._service.spawn(_answered(exchange, work))

    async def _submitted(self, exchange: Exchange, context: Context, preference: Preference) -> None:
        prediction = await self._submit(exchange, context)
        waited_s = self._wait_s(preference)
        if waited_s is not None:
            prediction = await self._service.ended(prediction, waited_s)
        self._answer(exchange, prediction, preference.applied(waited_s), waited=waited_s is not None)

    async def _predicted(self, exchange: Exchange, context: Context, preference: Preference) -> None:
        """As `_submitted`; but what ends within the wait is answered as predict answers."""
        prediction = await self._submit(exchange, context)
        waited_s = self._wait_s(preference)
        applied = (preference if preference.respond_async else Preference(True)).applied(waited_s)
        if waited_s is not None:
            prediction = await self._service.ended(prediction, waited_s)
        exchange.served_by(prediction.model, prediction.bundle)
        if prediction.kind is not None:
            exchange.answer(status_of(prediction), error_of(prediction), PROBLEM, applied)
        elif prediction.result is not None and waited_s is not None:
            payload = await self._service.result(prediction.id, None)
            exchange.answer(200, payload.body or b"", payload.content_type, applied + length_line(payload))
        else:
            self._answer(exchange, prediction, applied, waited=False)

    async def _submit(self, exchange: Exchange, context: Context) -> Prediction:
        if b"content-encoding" in exchange.headers:
            refuse_encoding(exchange)
        with self._service.submits.taken(len(exchange.body)):
            new = await self._new(exchange, context)
            if new.webhook is not None:
                await self._service.check_webhook(new.webhook)
            prediction, is_new = await self._service.submit(new)
        if b"x-request-id" not in exchange.headers:
            exchange.request_id = prediction.id.encode()
        else:
            fields = {"request_id": prediction.id, "given_id": context.request_id, "model": prediction.model, "new": is_new}
            logger.info("prediction submitted", extra=fields)
        return prediction

    async def _new(self, exchange: Exchange, context: Context) -> NewPrediction:
        model, get = exchange.params[0], exchange.headers.get
        intake = await self._intake(model)
        length = get(b"inference-header-content-length")
        body = Body(exchange.body, get(b"content-type", b""), length, exchange.query)

        def read() -> NewPrediction:
            accepted: Accepted = intake.read(body)
            owner = owner_of(caller_of(exchange))
            return new_prediction(model, accepted, context, exchange.headers, owner=owner, keep_s=self._service.keep_s)

        if len(body.data) <= self._ways.inline_bytes:
            return read()
        return await asyncio.get_running_loop().run_in_executor(None, read)

    async def _intake(self, model: str) -> Intake:
        """What reads bodies for the bundle that answers now. Raises NotFound, NotReady."""
        plan = self._plane.plan(model)
        found = self._intakes.get(model)
        if found is None or plan is None or found.plan is not plan:
            metadata = await self._plane.metadata(model) if plan is None else None
            found = self._intakes[model] = Intake(model, plan, metadata, self._ways, self._limits)
        return found

    async def _shown(self, exchange: Exchange) -> None:
        prediction, position = await self._service.get(exchange.params[0], seen_by(caller_of(exchange)))
        preference = read_prefer(exchange.header(b"prefer"))
        waited_s = self._wait_s(preference)
        if waited_s is not None and prediction.state not in ENDED:
            prediction, position = await self._service.ended(prediction, waited_s), None
            if prediction.state not in ENDED:
                prediction, position = await self._service.get(prediction.id, seen_by(caller_of(exchange)))
        exchange.answer(200, encode(prediction, position), headers=preference.applied(waited_s))

    def _answer(self, exchange: Exchange, prediction: Prediction, applied: bytes, *, waited: bool) -> None:
        exchange.served_by(prediction.model, prediction.bundle)
        status = 200 if waited and prediction.state in ENDED else 202
        exchange.answer(
            status, encode(prediction), headers=b"location: /predictions/%b\r\n%b" % (prediction.id.encode(), applied)
        )
        failpoint("submit.answered")

    def _wait_s(self, preference: Preference) -> float | None:
        if preference.wait_s is None:
            return None
        return min(preference.wait_s, self._service.settings.async_wait_s)


async def _answered(exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
    """Answer with whatever goes wrong; nothing is raised from here."""
    try:
        await work
    except KeyReused as error:
        # RFC 9110's 422 for a request that is well formed and means something else: no kind of our own has it.
        exchange.answer(422, problem(422, error.message, error.kind.value, error.field), PROBLEM)
    except PenstockError as error:
        exchange.fail(error)
    except asyncio.CancelledError:
        exchange.fail(NotReady("the server stops"))
        raise
    except Exception as error:
        exchange.fail(fault(logger, "prediction could not be answered", error, exchange.request_id))
