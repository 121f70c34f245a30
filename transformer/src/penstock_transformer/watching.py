"""The route file, watched: whatever it says is applied as soon as all of its bundles are warm, or not at all.

    file --(changed?)--> read_route --> bundles loaded or kept --> RouteTable.apply --> revision acknowledged

A file that is wrong, or a bundle that cannot be had yet, leaves the route as it was; the latter is tried again until it works
or the file changes. Reading takes place in a thread: a slow volume never holds up a request.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penstock.dataplane import DataPlane
from penstock.errors import InvalidInput, PenstockError
from penstock_transformer.active import ActiveBundle
from penstock_transformer.counters import Counters
from penstock_transformer.loading import Close, foreign_bundle, load_bundle
from penstock_transformer.route_file import RouteEntry, RouteSpec, read_route
from penstock_transformer.routing import Route, Target
from penstock_transformer.routing_table import RouteTable
from penstock_transformer.stores import Stores

logger = logging.getLogger(__name__)

_LAST_RETRY_S = 5.0


Connect = Callable[[str], tuple[DataPlane, Close]]


@dataclass(frozen=True, slots=True)
class _Stamp:
    modified_ns: int
    inode: int
    size: int


class RouteWatcher:
    """Applies a route file to a table. `poll_s`: how often it is looked at."""

    def __init__(
        self,
        table: RouteTable,
        file: Path,
        model: str,
        stores: Stores,
        connect: Connect,
        counters: Counters,
        *,
        poll_s: float = 1.0,
    ) -> None:
        self._table = table
        self._file = file
        self._model = model
        self._stores = stores
        self._connect = connect
        self._counters = counters
        self._poll_s = poll_s
        self._stamp: _Stamp | None = None
        self._wanted: RouteSpec | None = None
        self._active: dict[tuple[str, str, str], ActiveBundle] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    async def start(self) -> None:
        """Return when the first route is applied, however long that takes; then go on watching."""
        retry_s = min(self._poll_s, 0.1)
        while not await self.look():
            await asyncio.sleep(retry_s)
            retry_s = min(_LAST_RETRY_S, retry_s * 2)
        self._watcher = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop watching, and close what was loaded for a route that was never applied."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        applied = set(map(id, self._table.route.bundles)) if self._table.route is not None else set()
        closing = [bundle.retire() for bundle in self._active.values() if id(bundle) not in applied]
        await asyncio.gather(*(task for task in closing if task is not None), return_exceptions=True)

    async def look(self) -> bool:
        """Read the file if it has changed, and apply what is wanted and not yet applied; whether the route is as wanted."""
        async with self._looking:
            return await self._look()

    async def _look(self) -> bool:
        try:
            changed = await asyncio.to_thread(self._read_if_changed)
            if changed is not None:
                self._wanted = read_route(changed, self._model)
        except (PenstockError, OSError, UnicodeDecodeError) as error:
            self._counters.route_rejected += 1
            logger.error("route file rejected", extra={"model": self._model, "file": str(self._file), "reason": str(error)})
            return self._table.route is not None and self._wanted is None
        if self._wanted is None:
            return self._table.route is not None
        try:
            await self._apply(self._wanted)
        except PenstockError as error:
            self._counters.route_failed += 1
            extra = {"model": self._model, "revision": self._wanted.revision, "reason": str(error)}
            logger.warning("route not applied yet", extra=extra)
            return False
        self._wanted = None
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.look()
            except Exception:
                # Whatever it was, the next file may be one to live with; a watcher that has ended would never see it.
                self._counters.route_failed += 1
                logger.exception("looking at the route file failed", extra={"model": self._model, "file": str(self._file)})

    def _read_if_changed(self) -> str | None:
        found = self._file.stat()
        stamp = _Stamp(found.st_mtime_ns, found.st_ino, found.st_size)
        if stamp == self._stamp:
            return None
        text = self._file.read_text(encoding="utf-8")
        self._stamp = stamp
        return text

    async def _apply(self, spec: RouteSpec) -> None:
        bundles = await asyncio.gather(*(self._bundle(entry, spec.model) for entry in spec.bundles), return_exceptions=True)
        failed = [b for b in bundles if isinstance(b, BaseException)]
        if failed:
            raise failed[0]
        pairs = [(e, b) for e, b in zip(spec.bundles, bundles, strict=True) if isinstance(b, ActiveBundle)]
        live = tuple(Target(b, weight=e.weight) for e, b in pairs if e.mode == "live")
        shadows = tuple(Target(b, fraction=e.fraction) for e, b in pairs if e.mode == "shadow")
        self._table.apply(Route(spec.revision, live, shadows))
        wanted = {_key(entry) for entry in spec.bundles}
        # Also those that were loaded for a route that was never applied.
        for key in [key for key in self._active if key not in wanted]:
            self._active.pop(key).retire()
        logger.info(
            "route applied", extra={"model": self._model, "revision": spec.revision, "bundles": [b.label for _, b in pairs]}
        )

    async def _bundle(self, entry: RouteEntry, model: str) -> ActiveBundle:
        known = self._active.get(_key(entry))
        if known is not None:
            return known
        predictor, close = self._connect(entry.predictor)
        try:
            bundle = await self._load(entry, predictor, entry.model or model, close)
        except BaseException:
            await close()
            raise
        self._active[_key(entry)] = bundle
        return bundle

    async def _load(self, entry: RouteEntry, predictor: DataPlane, model: str, close: Close) -> ActiveBundle:
        if entry.verify == "none":
            metadata = await predictor.metadata(model)
            identity = f"{entry.predictor} {entry.model or ''}"
            return foreign_bundle(predictor, model, metadata, identity=entry.digest or identity, close=close)
        return await load_bundle(predictor, model, entry.digest, self._stores, close=close)


def _key(entry: RouteEntry) -> tuple[str, str, str]:
    return entry.digest, entry.predictor, entry.model or ""


def read_now(file: Path, model: str) -> RouteSpec:
    """The route in a file, for programs that check one. Raises InvalidInput naming the field, or the file if it cannot be
    read."""
    try:
        return read_route(file.read_text(encoding="utf-8"), model)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot be read: {error}", field=str(file)) from None
