"""Loading and unloading while serving: the model repository of one predictor.

    load --> places (fetched) --> load_model in a thread: verified, tried, warm --> Predictor.update, between two requests
                                                                                         old ones: drain, then release

A model is loaded beside the one that serves. So a load that fails changes nothing, no request meets a model half gone, and each
is answered by one bundle from end to end.

Invariants: calls for one model happen one after the other; one model is loaded at a time (two would measure each other); what
takes traffic was read from files that did not change meanwhile. A load that has begun goes on when its caller leaves: its thread
cannot be stopped, and a second load beside it would take the memory of both.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from penstock.errors import Conflict, Internal, InvalidInput, NotFound, NotReady, PenstockError
from penstock.repository import Entry
from penstock_predictor.fingerprint import fingerprint
from penstock_predictor.loading import LoadedModel, load_model
from penstock_predictor.predictor import Predictor
from penstock_predictor.repository import Place
from penstock_predictor.settings import ModelSettings
from penstock_predictor.source import ModelSource

log = logging.getLogger(__name__)

Key = tuple[str, str | None]
Load = Callable[[Place, ModelSettings], LoadedModel]
_TRIES = 3
_LEAST_OFTEN = 31


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a place that was loaded, or tried: its files then, and the version it became (None if it failed)."""

    mark: str
    version: str | None


class PredictorRepository:
    """Implements `penstock.repository.ModelRepository` over a predictor and the source of its models. Used on the event loop."""

    def __init__(self, predictor: Predictor, source: ModelSource, settings: ModelSettings, *, load: Load = load_model) -> None:
        self._predictor = predictor
        self._source = source
        self._settings = settings
        self._load = load
        self._one_load = asyncio.Lock()
        self._one_look = asyncio.Lock()
        # Not the lock of looks: a fetch may take an hour, and what serves is to be told all the while.
        self._one_listing = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # By name and the version that the directory says.
        self._held: dict[Key, Held] = {}
        self._loading: set[Key] = set()
        # After a fetch that failed: looks to leave out, and how many that were last time.
        self._patience: dict[str, tuple[int, int]] = {}
        self._failures: dict[Key, str] = {}

    async def start(self) -> None:
        """Load everything there is. Raises what is wrong with the first model that cannot be loaded."""
        self._predictor.add(await self._prepared(await self._places(None)))

    async def index(self, ready_only: bool = False) -> list[Entry]:
        found = {(entry["name"], entry["version"]): {**entry, "reason": ""} for entry in self._predictor.index()}
        if ready_only:
            return list(found.values())
        for model, version in await self._names():
            key = (model, version)
            held = self._held.get(key)
            became = version or (held.version if held is not None else None) or ""
            # What serves stays READY while other files of it load or fail to; the reason tells of those.
            entry = found.setdefault(
                (model, became), {"name": model, "version": became, "state": "UNAVAILABLE", "bundle": "", "reason": "not loaded"}
            )
            if key in self._loading and entry["state"] != "READY":
                entry |= {"state": "LOADING", "reason": ""}
            elif key in self._failures:
                entry["reason"] = self._failures[key]
        return list(found.values())

    async def load(self, model: str, version: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        for name in parameters or ():
            raise InvalidInput("no parameters are known here: the bundle says how it is served", field=f"parameters.{name}")
        await self._to_its_end(self._load_now(model, version))

    async def _load_now(self, model: str, version: str | None) -> None:
        async with self._lock(model):
            places = await self._places(model)
            wanted = [place for place in places if version is None or version == self._version(place)]
            if not wanted:
                raise NotFound(f"the repository holds no model {model!r}{f' of version {version!r}' if version else ''}")
            loaded = await self._prepared(wanted)
            if version is None:
                self._predictor.replace(model, loaded)
                self._forget(model, places)
            else:
                self._predictor.add(loaded)

    async def unload(self, model: str, version: str | None = None) -> None:
        async with self._lock(model):
            self._predictor.remove(model, version)

    async def look(self) -> dict[str, dict[str | None, str]]:
        """The marks of every place there is now, by model and version; fetched where they are far away. Raises as the source.

        A model that cannot be fetched shows the marks that are held, so that it counts as unchanged, and is looked at less and
        less often: what is broken in a store must not be fetched over and over.
        """
        async with self._one_listing:
            names = await asyncio.to_thread(self._source.names)
        found: dict[str, dict[str | None, str]] = {}
        held = self.held()
        for model in dict.fromkeys(name for name, _ in names):
            waits, length = self._patience.get(model, (0, 0))
            if waits:
                self._patience[model] = (waits - 1, length)
                found[model] = held.get(model, {})
                continue
            try:
                places = await self._places(model)
                if self._patience.pop(model, None) is not None:
                    self._failures.pop((model, None), None)
            except PenstockError as error:
                length = min(length * 2 + 1, _LEAST_OFTEN)
                self._patience[model] = (length, length)
                self._failures[model, None] = str(error)
                log.warning("model cannot be fetched", extra={"model": model, "reason": str(error)})
                found[model] = held.get(model, {})
                continue
            found[model] = {p.version: await asyncio.to_thread(fingerprint, p.directory) for p in places}
        return found

    def held(self) -> dict[str, dict[str | None, str]]:
        """The marks that were last loaded or tried, in the form of `look`."""
        found: dict[str, dict[str | None, str]] = {}
        for (model, version), held in self._held.items():
            found.setdefault(model, {})[version] = held.mark
        return found

    async def renew(self, model: str) -> None:
        """Load what changed of a model, keep what did not, and drop the versions that are gone. Raises as `load`."""
        await self._to_its_end(self._renew_now(model))

    async def _renew_now(self, model: str) -> None:
        async with self._lock(model):
            places = await self._places(model)
            changed, kept = [], set()
            for place in places:
                held = self._held.get((model, place.version))
                if held is None or held.mark != await asyncio.to_thread(fingerprint, place.directory):
                    changed.append(place)
                elif held.version is not None:
                    kept.add(held.version)
            loaded = await self._prepared(changed)
            self._forget(model, places)
            if loaded or kept:
                self._predictor.replace(model, loaded, keep=kept)

    async def vanish(self, model: str) -> None:
        """Serve a model no longer whose files are gone."""
        async with self._lock(model):
            self._forget(model, ())
            if model in self._predictor.models():
                self._predictor.remove(model)

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Run in a task of its own, which goes on if whoever waits is cancelled. Once the process drains it takes no effect."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # the log and the index have it; whoever asked may have left

    def _lock(self, model: str) -> asyncio.Lock:
        # Held by whoever waits for it, gone with the last of them: callers may name what they like.
        return self._locks.setdefault(model, asyncio.Lock())

    async def _places(self, model: str | None) -> list[Place]:
        async with self._one_look:
            return await asyncio.to_thread(self._source.places, model)

    async def _names(self) -> list[tuple[str, str | None]]:
        try:
            async with self._one_listing:
                return await asyncio.to_thread(self._source.names)
        except PenstockError as error:
            log.warning("model repository cannot be listed", extra={"reason": str(error)})
            return []

    def _version(self, place: Place) -> str | None:
        held = self._held.get((place.model, place.version))
        return place.version or (held.version if held is not None else None)

    def _forget(self, model: str, places: Sequence[Place]) -> None:
        there = {place.version for place in places}
        for key in [key for key in self._held if key[0] == model and key[1] not in there]:
            del self._held[key]
            self._failures.pop(key, None)

    async def _prepared(self, places: Sequence[Place]) -> list[LoadedModel]:
        """All of them or none: what was loaded before one failed is released again. Raises NotReady once the process drains."""
        loaded: list[LoadedModel] = []
        held: dict[Key, Held] = {}
        try:
            for place in places:
                key = (place.model, place.version)
                model, mark = await self._loaded(place, key)
                loaded.append(model)
                held[key] = Held(mark, model.version)
            if self._predictor.draining:
                raise NotReady("the server is shutting down")
        except BaseException:
            for model in loaded:
                model.close()
            raise
        self._held |= held
        for key in held:
            self._failures.pop(key, None)
        return loaded

    async def _loaded(self, place: Place, key: Key) -> tuple[LoadedModel, str]:
        self._loading.add(key)
        mark = ""
        try:
            async with self._one_load:
                for _ in range(_TRIES):
                    mark = await asyncio.to_thread(fingerprint, place.directory)
                    loaded = await asyncio.to_thread(self._load, place, self._settings)
                    if mark and mark == await asyncio.to_thread(fingerprint, place.directory):
                        return loaded, mark
                    loaded.close()
            raise Conflict("the files kept changing while they were loaded; load again when the copy is complete")
        except Exception as error:
            known = _placed(error if isinstance(error, PenstockError) else _known(error, place), place)
            self._note_failure(key, mark, known)
            raise known from error
        finally:
            self._loading.discard(key)

    def _note_failure(self, key: Key, mark: str, error: PenstockError) -> None:
        """Files that failed once are not tried again by themselves until they change; what served before stays held."""
        self._failures[key] = str(error)
        before = self._held.get(key)
        if not error.retryable:
            self._held[key] = Held(mark, before.version if before is not None else None)
        log.warning("model could not be loaded", extra={"model": key[0], "version": key[1], "reason": str(error)})


def _known(error: Exception, place: Place) -> PenstockError:
    if isinstance(error, OSError):
        return InvalidInput(f"cannot be read: {error.strerror}", field=place.directory.name)
    log.error("loading failed", exc_info=error, extra={"model": place.model})
    return Internal("the model could not be loaded; the log says why")


def _placed(error: PenstockError, place: Place) -> PenstockError:
    """The error with the model's version before the file at fault: several may lie in one repository."""
    if place.version is None or error.field is None or not isinstance(error, InvalidInput):
        return error
    return type(error)(error.message, field=f"{place.version}/{error.field}")
