"""The pipeline as the worker sees it: records go in, one outcome for each comes back.

    Record --Reader--> request --Transformer.predict | submit--> reply --Writer | DeadLetters | table--> Outcome

A record that refers to an object waits for it first; so few objects are held at once that their bytes are bounded by that number
and the limit of a body. All on the event loop's thread.

Invariant: `done` is called once for each record that was submitted, whatever the record, the pipeline or the object store does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from penstock.dataplane import InferRequest, InferResponse, Reply
from penstock.errors import Internal, InvalidInput, Overloaded, PenstockError
from penstock.protocol.limits import Limits
from penstock.serving.faults import fault
from penstock_transformer.broker.records import OutRecord, Record
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.probing import healthy
from penstock_transformer.requests import PredictReply, PredictRequest, PredictResponse
from penstock_transformer.routing_table import RouteTable
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.dead_letters import CRASHED, DeadLetters
from penstock_transformer.worker.headers import by_name, id_of
from penstock_transformer.worker.outcomes import Answered, Away, Died, Outcome, Refused
from penstock_transformer.worker.reading import Reader, Request
from penstock_transformer.worker.table import Action, what_to_do
from penstock_transformer.worker.writing import Writer

logger = logging.getLogger(__name__)

Done = Callable[[Record, Outcome], None]
Fetch = Callable[[str], Awaitable[bytes]]
# Objects that are fetched or being predicted at once: images of megabytes, of which a batch needs few.
OBJECTS_HELD = 8


class Pipeline(Protocol):
    """What predicting needs of `penstock_transformer.transformer.Transformer`."""

    def predict(self, request: PredictRequest, reply: PredictReply) -> None: ...

    def submit(self, request: InferRequest, reply: Reply) -> None: ...

    @property
    def table(self) -> RouteTable: ...


class TransformerPredicting:
    """Implements `outcomes.Predicting`. `fetch` gives the bytes behind a reference: NotFound for one that is gone, and
    UpstreamUnavailable while the store is away; None where there is no store of objects."""

    def __init__(
        self,
        pipeline: Pipeline,
        model: str,
        *,
        predictions: str,
        dead_letters: str,
        fetch: Fetch | None = None,
        limits: Limits | None = None,
        way_in: WayInLimits | None = None,
        probe_s: float = 5.0,
    ) -> None:
        self._pipeline = pipeline
        self._fetch = fetch
        self._limits = limits or Limits()
        self._reader = Reader(model, limits=self._limits, way_in=way_in)
        self.writer = Writer(model, predictions)
        self.letters = DeadLetters(dead_letters)
        self._probe_s = probe_s
        self._held = asyncio.Semaphore(OBJECTS_HELD)
        self._fetching: set[asyncio.Task[None]] = set()

    def submit(self, records: Sequence[Record], done: Done) -> None:
        """Predict these; `done` is called once for each, in any order, now or later. Never raises, never blocks."""
        for record in records:
            if record.value:
                self._predict(record, record.value, done)
                continue
            reference = by_name(record.headers).get(names.REFERENCE)
            if reference:
                task = asyncio.ensure_future(self._fetched(record, reference, done))
                self._fetching.add(task)
                task.add_done_callback(partial(self._over, record, done))
            else:
                self._predict(record, record.value, done)

    def crashed(self, record: Record, attempts: int) -> OutRecord:
        """The dead letter of a record that ended a healthy predictor that many times, alone."""
        message = f"the predictor ended {attempts} times while it ran this record alone, and was healthy before each"
        return self.letters.letter(record, CRASHED, message, attempts=attempts)

    def too_large(self, record: Record, message: str) -> OutRecord:
        """The dead letter of a record whose prediction the topic does not take."""
        return self.letters.letter(record, "too_large", message)

    async def healthy(self) -> bool:
        """Whether predictor and store answer now."""
        return await healthy(self._pipeline.table.route, self._probe_s)

    async def close(self) -> None:
        """Give up the objects that are still being fetched; their records are answered with Away."""
        tasks = list(self._fetching)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _predict(self, record: Record, value: bytes | None, done: Done) -> None:
        try:
            request = self._reader.read(record, value)
        except PenstockError as error:
            done(record, self.outcome(record, error, None))
            return
        except Exception as error:
            done(record, self.outcome(record, fault(logger, "record could not be read", error, id_of(record)), None))
            return
        if type(request) is PredictRequest:
            self._pipeline.predict(request, RowsReply(self, record, request, done))
        else:
            assert isinstance(request, InferRequest)
            self._pipeline.submit(request, TensorsReply(self, record, request, done))

    def _over(self, record: Record, done: Done, task: "asyncio.Task[None]") -> None:
        """Called by the loop, since a task that is cancelled before it began runs nothing of its own."""
        self._fetching.discard(task)
        if task.cancelled():
            done(record, Away("draining"))

    async def _fetched(self, record: Record, reference: bytes, done: Done) -> None:
        """Bring the object, and hold its place until the record is answered; one that is cancelled answers nothing itself."""
        try:
            async with self._held:
                answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

                def put(_: Record, outcome: Outcome) -> None:
                    if not answered.done():
                        answered.set_result(outcome)

                self._predict(record, await self._object(reference), put)
                outcome = await answered
        except PenstockError as error:
            outcome = self.outcome(record, error, None)
        except Exception as error:
            outcome = self.outcome(record, fault(logger, "object could not be fetched", error, id_of(record)), None)
        done(record, outcome)

    async def _object(self, reference: bytes) -> bytes:
        if self._fetch is None:
            raise InvalidInput("no object store is configured here, so nothing can be sent by reference", field=names.REFERENCE)
        try:
            uri = reference.decode()
        except UnicodeDecodeError:
            raise InvalidInput("expected a URI in UTF-8", field=names.REFERENCE) from None
        return await self._fetch(uri)

    def outcome(self, record: Record, error: PenstockError, request: Request | None) -> Outcome:
        """What an error means for a record. `request` None: it was never one."""
        context = None if request is None else request.context
        identity = context.request_id if context is not None else error.request_id
        action = what_to_do(error, record, 0.0 if context is None else context.deadline)
        if action is Action.RETRY:
            return Away(f"{error.kind}: {error.message}", error.retry_after_s if isinstance(error, Overloaded) else 0.0)
        if action is Action.SUSPECT:
            return Died(error.message)
        letter = self.letters.of(record, error, identity)
        logger.info(
            "record refused",
            extra={
                "request_id": identity or id_of(record),
                "position": record.position,
                "kind": str(error.kind),
                "field": error.field,
                "bundle": error.bundle or "",
            },
        )
        return Refused(letter, str(error.kind))


class RowsReply:
    """A record's way back from the pipeline, for rows. Nobody leaves while a record waits."""

    __slots__ = ("_done", "_owner", "_record", "_request")
    disconnected = False

    def __init__(self, owner: TransformerPredicting, record: Record, request: PredictRequest, done: Done) -> None:
        self._owner = owner
        self._record = record
        self._request = request
        self._done = done

    def put(self, response: PredictResponse) -> None:
        context = self._request.context
        try:
            record = self._owner.writer.rows(self._record, response, context.request_id, context.traceparent)
        except TypeError:
            self.error(Internal("the prediction cannot be written as JSON"))
            return
        self._done(self._record, Answered(record))

    def error(self, error: PenstockError) -> None:
        self._done(self._record, self._owner.outcome(self._record, error, self._request))


class TensorsReply:
    """The same for tensors."""

    __slots__ = ("_done", "_owner", "_record", "_request")
    disconnected = False

    def __init__(self, owner: TransformerPredicting, record: Record, request: InferRequest, done: Done) -> None:
        self._owner = owner
        self._record = record
        self._request = request
        self._done = done

    def put(self, response: InferResponse) -> None:
        context = self._request.context
        try:
            record = self._owner.writer.tensors(self._record, response, self._request, context.request_id, context.traceparent)
        except PenstockError as error:
            self.error(error)
        except Exception as error:
            self.error(fault(logger, "prediction could not be written", error, context.request_id))
        else:
            self._done(self._record, Answered(record))

    def error(self, error: PenstockError) -> None:
        self._done(self._record, self._owner.outcome(self._record, error, self._request))
