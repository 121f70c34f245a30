"""Asynchronous predictions in one process: the store, what drains it, what removes what is over, who waits for what.

    submit --Room--> store (row) --arrivals--> Drain --> Transformer --> store (result) --changes--> ended, follow

Where no database was named the store is a file that is made by the first prediction: a server that is never asked for one pays
nothing, and leaves nothing behind. A file that is there is opened at the start, so that what an earlier process took is done.

Invariant: a prediction that `submit` returned is in the store, whatever becomes of this process.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from penstock.errors import NotFound, NotReady, PenstockError, UpstreamUnavailable
from penstock.failpoints import failpoint
from penstock.lifecycle import Lifecycle, State, StopPhase
from penstock_transformer.http.several import TransformerPlane
from penstock_transformer.predictions.draining import Drain
from penstock_transformer.predictions.opening import Store, open_store
from penstock_transformer.predictions.port import Filter, Page
from penstock_transformer.predictions.resource import ENDED, NewPrediction, Payload, Prediction
from penstock_transformer.predictions.resource import State as PredictionState
from penstock_transformer.predictions.room import Room
from penstock_transformer.predictions.settings import PredictionsSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")
EXPIRE_EVERY_S = 30.0
EXPIRE_AT_ONCE = 500
ID_CHARACTERS = 200
DEFAULT_FILE = Path(".penstock") / "predictions.db"


class PredictionService:
    """`file`: where predictions are kept if the settings name no database. On the event loop's thread."""

    def __init__(
        self,
        settings: PredictionsSettings,
        plane: TransformerPlane,
        lifecycle: Lifecycle,
        *,
        file: Path = DEFAULT_FILE,
        opener: Callable[[str], Store] = open_store,
    ) -> None:
        self.settings = settings
        self.keep_s = settings.keep_s()
        self.submits = Room("predictions are being handed in", settings.async_submits, settings.async_submit_mb * 2**20)
        self.followers = Room("callers wait for predictions", settings.async_followers)
        self.leaving = asyncio.Event()
        self._plane = plane
        self._file = file
        self._opener = opener
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._drain: Drain | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._expiring: asyncio.Task[None] | None = None
        lifecycle.on_start("predictions", self.start)
        lifecycle.on_stop("predictions", self.close, StopPhase.RELEASE)
        lifecycle.on_stop("answers", self._finish, StopPhase.FINISH)
        lifecycle.on_stop("predictions' queue", self._stop_draining, StopPhase.INTAKE)
        lifecycle.add_listener(self._on_state)

    async def start(self) -> None:
        """Open the store, if one was named or is there. Raises UpstreamUnavailable, InvalidInput."""
        if self.settings.database is not None or self._file.exists():
            await self._opened()

    async def close(self) -> None:
        """Close the store; after `drain`."""
        if self._expiring is not None:
            self._expiring.cancel()
            await asyncio.gather(self._expiring, return_exceptions=True)
        if self._store is not None:
            await self._store.close()

    async def submit(self, new: NewPrediction) -> tuple[Prediction, bool]:
        """Keep a prediction; the one kept, and whether it is new. Raises as `Predictions.submit`."""
        kept = await (await self._opened()).submit(new)
        failpoint("submit.written")
        return kept

    async def get(self, prediction_id: str, owner: str | None) -> tuple[Prediction, int | None]:
        """A prediction, and its position while it is queued. Raises NotFound."""
        store = await self._existing(prediction_id)
        prediction = await store.get(prediction_id, owner)
        position = await store.position(prediction) if prediction.state is PredictionState.STARTING else None
        return prediction, position

    async def input(self, prediction_id: str, owner: str | None) -> Payload:
        """What was asked. Raises NotFound."""
        return await self._whole(await (await self._existing(prediction_id)).input(prediction_id, owner))

    async def result(self, prediction_id: str, owner: str | None) -> Payload:
        """What came of it, as it was written. Raises NotFound where there is none."""
        prediction = await (await self._existing(prediction_id)).get(prediction_id, owner)
        if prediction.result is None:
            raise NotFound(f"prediction {prediction_id} has no result; it is {prediction.state}")
        return await self._whole(prediction.result)

    async def find(self, wanted: Filter, limit: int, cursor: str | None) -> Page:
        """A page of predictions, newest first. Raises InvalidInput for a cursor that is none."""
        if self._store is None and not self._file.exists():
            return Page((), None)
        return await (await self._opened()).find(wanted, limit, cursor)

    async def cancel(self, prediction_id: str, owner: str | None) -> Prediction:
        """Canceled, unless it had ended; how it is then. Raises NotFound."""
        return await (await self._existing(prediction_id)).cancel(prediction_id, owner)

    async def ended(self, prediction: Prediction, wait_s: float) -> Prediction:
        """The prediction once it has ended, or as it is after `wait_s`, or when this process stops. Raises Overloaded."""
        if prediction.state in ENDED or wait_s <= 0:
            return prediction
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s), self.follow(prediction.id) as states:
                async for _ in states:
                    pass
        return await (await self._opened()).get(prediction.id, None)

    @asynccontextmanager
    async def follow(self, prediction_id: str) -> AsyncIterator[AsyncIterator[PredictionState]]:
        """The states of a prediction as they come, until its end or until this process stops. Raises NotFound, Overloaded."""
        store = await self._existing(prediction_id)
        with self.followers.taken():
            async with store.changes(prediction_id) as states:
                yield self._until_leaving(states)

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run the answering of a request; awaited before the process ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _until_leaving(self, states: AsyncIterator[PredictionState]) -> AsyncIterator[PredictionState]:
        leaving = asyncio.ensure_future(self.leaving.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(states, None))
                await asyncio.wait({leaving, following}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                    return
                state = following.result()
                if state is None:
                    return
                yield state
        finally:
            leaving.cancel()

    async def _whole(self, payload: Payload) -> Payload:
        """A payload with its bytes."""
        if payload.body is None:
            raise UpstreamUnavailable("this input is in an object store that this server does not have")
        return payload

    async def _existing(self, prediction_id: str) -> Store:
        """The store, if this id can be in it. Raises NotFound without opening anything for what cannot."""
        possible = 0 < len(prediction_id) <= ID_CHARACTERS and prediction_id.isprintable()
        if not possible or (self._store is None and self.settings.database is None and not self._file.exists()):
            raise NotFound(f"no prediction {prediction_id[:100]!r}")
        return await self._opened()

    async def _opened(self) -> Store:
        if self._store is not None:
            return self._store
        if self.leaving.is_set():
            raise NotReady("the server stops")
        async with self._opening:
            if self._store is None:
                self._store = await self._open()
        return self._store

    async def _open(self) -> Store:
        url = self.settings.database
        if url is None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UpstreamUnavailable(f"cannot make {self._file.parent} ({error.strerror}); name a --database") from None
            url = f"sqlite:///{self._file}"
        store = self._opener(url)
        await store.start()
        self._drain = Drain(store, self._plane)
        self._drain.start()
        self._expiring = asyncio.create_task(self._expire(store))
        return store

    async def _expire(self, store: Store) -> None:
        while True:
            try:
                removed = EXPIRE_AT_ONCE
                while removed >= EXPIRE_AT_ONCE:
                    removed = (await store.expire(time.time(), EXPIRE_AT_ONCE)).removed
            except PenstockError as error:
                logger.warning("predictions could not be removed", extra={"reason": error.message})
            await asyncio.sleep(EXPIRE_EVERY_S)

    def _on_state(self, state: State) -> None:
        if state is State.DRAINING:
            self.leaving.set()

    async def _stop_draining(self) -> None:
        if self._drain is not None:
            await self._drain.stop()

    async def _finish(self) -> None:
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
