"""Asynchronous predictions in one process: the store, what drains it, who waits for what.

    submit --Room--> store (row) --arrivals--> Drain --> Transformer --> store (result) --changes--> ended, follow

Where no database was named the store is a file that is made by the first prediction: a server that is never asked for one pays
nothing, and leaves nothing behind. A file that is there is opened at the start, so that what an earlier process took is done.

Invariant: a prediction that `submit` returned is in the store, whatever becomes of this process.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.errors import InvalidInput, NotFound, NotReady, PenstockError, UpstreamUnavailable
from penstock.failpoints import failpoint
from penstock.lifecycle import Lifecycle, State, StopPhase
from penstock_transformer.predictions.backing import Backing, Opener
from penstock_transformer.predictions.draining import Pipelines
from penstock_transformer.predictions.opening import open_store
from penstock_transformer.predictions.port import Backlog, Filter, Page
from penstock_transformer.predictions.resource import ENDED, NewPrediction, Payload, Prediction
from penstock_transformer.predictions.resource import State as PredictionState
from penstock_transformer.predictions.room import Room
from penstock_transformer.predictions.settings import MEMORY, PredictionsSettings
from penstock_transformer.predictions.webhook_target import Policy

logger = logging.getLogger(__name__)

T = TypeVar("T")
# A database that opens takes less; a start, or a request, does not wait longer for one that does not. Our own file is never far
# away, and its first request brings what is imported for it, too.
START_S = 20.0
OPEN_S = 5.0
OPEN_FILE_S = 30.0
ID_CHARACTERS = 200
DEFAULT_FILE = Path(".penstock") / "predictions.db"


class PredictionService:
    """`pipelines`: what predicts, by model. `file`: where predictions are kept if the settings name no database. On the event
    loop's thread."""

    def __init__(
        self,
        settings: PredictionsSettings,
        pipelines: Pipelines,
        lifecycle: Lifecycle,
        *,
        file: Path = DEFAULT_FILE,
        opener: Opener = open_store,
    ) -> None:
        self.settings = settings
        self.keep_s = settings.keep_s()
        self.submits = Room("predictions are being handed in", settings.async_submits, settings.async_submit_mb * 2**20)
        self.followers = Room("callers wait for predictions", settings.async_followers)
        self.leaving = asyncio.Event()
        self._submitted = {"new": 0, "repeated": 0}
        self._pipelines = pipelines
        self._file = file
        self._opener = opener
        self._backing: Backing | None = None
        self._opening: asyncio.Task[Backing] | None = None
        self._webhooks = Policy(settings)
        self._tasks: set[asyncio.Task[Any]] = set()
        lifecycle.on_start("predictions", self.start)
        lifecycle.on_stop("predictions", self.close, StopPhase.RELEASE)
        lifecycle.on_stop("answers", self._finish, StopPhase.FINISH)
        lifecycle.on_stop("predictions' queue", self._stop_draining, StopPhase.INTAKE)
        lifecycle.add_listener(self._on_state)

    async def start(self) -> None:
        """Open the store, if one was named or is there. One that is away holds up nothing: its requests get 503 until it comes.

        Raises InvalidInput for a database that was named and can never be opened.
        """
        if self.settings.database is None and not self._file.exists():
            return
        try:
            await self._opened(START_S)
        except InvalidInput:
            raise
        except PenstockError as error:
            if isinstance(error.__cause__, InvalidInput) and self.settings.database is not None:
                raise error.__cause__ from None
            logger.warning("predictions are not available", extra={"reason": error.message})

    async def close(self) -> None:
        """Close the store; after its queue was stopped."""
        if self._opening is not None and self._backing is None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._backing is not None:
            await self._backing.close()
        self._webhooks.close()

    async def check_webhook(self, url: str) -> None:
        """Raises InvalidInput for an address that no webhook is sent to."""
        if self.settings.database == MEMORY:
            raise InvalidInput("webhooks need a database: memory:// keeps none of them", field="webhook")
        await self._webhooks.check(url)

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        submitted = CounterMetricFamily("penstock_predictions_submitted", "Predictions handed in.", labels=("outcome",))
        for outcome, count in self._submitted.items():
            submitted.add_metric((outcome,), count)
        yield submitted
        yield GaugeMetricFamily(
            "penstock_predictions_submits_in_flight", "Predictions on their way into the database.", self.submits.count
        )
        yield GaugeMetricFamily("penstock_predictions_followers", "Callers that follow or await one.", self.followers.count)
        if self._backing is not None:
            yield from self._backing.families()

    async def submit(self, new: NewPrediction) -> tuple[Prediction, bool]:
        """Keep a prediction; the one kept, and whether it is new. Raises as `Predictions.submit`."""
        backing = await self._opened()
        kept = await backing.claims.submit(backing.store, new)
        failpoint("submit.written")
        self._submitted["new" if kept[1] else "repeated"] += 1
        return kept if kept[1] else (await _with_result(backing, kept[0]), False)

    async def get(self, prediction_id: str, owner: str | None) -> tuple[Prediction, int | None]:
        """A prediction, and its position while it is queued. Raises NotFound."""
        backing = await self._existing(prediction_id)
        prediction = await _with_result(backing, await backing.store.get(prediction_id, owner))
        position = await backing.store.position(prediction) if prediction.state is PredictionState.STARTING else None
        return prediction, position

    async def knows(self, prediction_id: str) -> bool:
        """Whether a prediction of this id is kept, whoever's it is. Raises UpstreamUnavailable."""
        if not self._may_exist():
            return False
        return bool(await (await self._opened()).store.existing([prediction_id]))

    async def input(self, prediction_id: str, owner: str | None) -> Payload:
        """What was asked. Raises NotFound."""
        backing = await self._existing(prediction_id)
        return await _whole(backing, await backing.store.input(prediction_id, owner))

    async def result(self, prediction_id: str, owner: str | None) -> Payload:
        """What came of it, as it was written. Raises NotFound where there is none."""
        backing = await self._existing(prediction_id)
        prediction = await backing.store.get(prediction_id, owner)
        if prediction.result is None:
            raise NotFound(f"prediction {prediction_id} has no result; it is {prediction.state}")
        return await _whole(backing, prediction.result)

    async def find(self, wanted: Filter, limit: int, cursor: str | None) -> Page:
        """A page of predictions, newest first. Raises InvalidInput for a cursor that is none."""
        if not self._may_exist():
            return Page((), None)
        return await (await self._opened()).store.find(wanted, limit, cursor)

    async def backlog(self) -> list[Backlog] | None:
        """What waits and what is taken; None where there is no store yet. Raises UpstreamUnavailable."""
        return None if self._backing is None else await self._backing.store.backlog()

    async def cancel(self, prediction_id: str, owner: str | None) -> Prediction:
        """Canceled, unless it had ended; how it is then. Raises NotFound."""
        backing = await self._existing(prediction_id)
        return await _with_result(backing, await backing.store.cancel(prediction_id, owner))

    async def ended(self, prediction: Prediction, wait_s: float) -> Prediction:
        """The prediction once it has ended, or as it is after `wait_s`, or when this process stops. Never raises: it is kept, and
        whoever waits must learn its id whatever becomes of the waiting."""
        if prediction.state in ENDED or wait_s <= 0:
            return prediction
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s), self.follow(prediction.id) as states:
                    async for _ in states:
                        pass
            backing = await self._opened()
            return await _with_result(backing, await backing.store.get(prediction.id, None))
        except PenstockError as error:
            logger.info("prediction is not waited for", extra={"request_id": prediction.id, "reason": error.message})
            return prediction

    @asynccontextmanager
    async def follow(self, prediction_id: str) -> AsyncIterator[AsyncGenerator[PredictionState]]:
        """The states of a prediction as they come, until its end or until this process stops. Raises NotFound, Overloaded."""
        store = (await self._existing(prediction_id)).store
        with self.followers.taken():
            async with store.changes(prediction_id) as states, aclosing(self._until_leaving(states)) as following:
                yield following

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run the answering of a request; awaited before the process ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _until_leaving(self, states: AsyncIterator[PredictionState]) -> AsyncGenerator[PredictionState]:
        leaving = asyncio.ensure_future(self.leaving.wait())
        following = asyncio.ensure_future(anext(states, None))
        try:
            while True:
                await asyncio.wait({leaving, following}, return_when=asyncio.FIRST_COMPLETED)
                state = following.result() if following.done() else None
                if state is None:
                    return
                yield state
                following = asyncio.ensure_future(anext(states, None))
        finally:
            # The states must stand still before whoever gave them closes them.
            for task in (leaving, following):
                task.cancel()
            await asyncio.gather(leaving, following, return_exceptions=True)

    def _may_exist(self) -> bool:
        """Whether anything can have been kept: asked first, so that a look makes no database."""
        return self._backing is not None or self.settings.database is not None or self._file.exists()

    async def _existing(self, prediction_id: str) -> Backing:
        """Where this id can be. Raises NotFound without opening anything for one that is nowhere."""
        if not 0 < len(prediction_id) <= ID_CHARACTERS or not prediction_id.isprintable() or not self._may_exist():
            raise NotFound(f"no prediction {prediction_id[:100]!r}", field="prediction_id")
        return await self._opened()

    async def _opened(self, within_s: float | None = None) -> Backing:
        """The store and what works on it. Raises UpstreamUnavailable while it cannot be opened; opening goes on meanwhile."""
        if self._backing is not None:
            return self._backing
        if self.leaving.is_set():
            raise NotReady("the server stops")
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        opening = self._opening
        if within_s is None:
            within_s = OPEN_FILE_S if self.settings.database is None else OPEN_S
        await asyncio.wait({opening}, timeout=within_s)
        if not opening.done():
            raise UpstreamUnavailable("the database of predictions cannot be reached")
        if opening.cancelled():
            raise NotReady("the server stops")
        error = opening.exception()
        if error is None:
            return opening.result()
        self._opening = None
        if isinstance(error, PenstockError):
            raise UpstreamUnavailable(f"the database of predictions cannot be opened: {error}") from error
        raise error

    async def _open(self) -> Backing:
        url = self.settings.database
        if url is None:
            try:
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise UpstreamUnavailable(f"cannot make {self._file.parent} ({error.strerror}); name a --database") from None
            url = f"sqlite:///{self._file}"
        self._backing = await Backing.open(url, self.settings, self._pipelines, self._opener)
        return self._backing

    def _on_state(self, state: State) -> None:
        if state is State.DRAINING:
            self.leaving.set()

    async def _stop_draining(self) -> None:
        if self._backing is not None:
            await self._backing.stop_intake()

    async def _finish(self) -> None:
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def _with_result(backing: Backing, prediction: Prediction) -> Prediction:
    """One whose result is in it, wherever that lies, if its document can hold it. Raises UpstreamUnavailable: a success without a
    result would be taken for an empty one."""
    payload = prediction.result
    if payload is None or payload.body is not None or not payload.is_json:
        return prediction
    try:
        return replace(prediction, result=await _whole(backing, payload))
    except UpstreamUnavailable:
        raise
    except PenstockError as error:
        logger.error("result cannot be shown", extra={"request_id": prediction.id, "reason": error.message})
        return prediction


async def _whole(backing: Backing, payload: Payload) -> Payload:
    """A payload with its bytes, wherever they lie."""
    if payload.body is not None:
        return payload
    return replace(payload, body=await backing.claims.unpack(payload))
