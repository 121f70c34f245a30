"""The way out for stores that are not read directly: every read and write through the Feast SDK, in a thread of its own.

    SetRead … -> FeatureStore.get_online_features (one call per view) -> columns

It costs what Feast costs: seconds of import, tenths of a millisecond a row. Feast is imported when the store is opened, and is
not in the transformer's image. Writing compares event times first and then writes, which two writers at once can slip through:
where that matters, use a store that is written directly.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from penstock.errors import InvalidInput, PenstockError, UnsupportedType, UpstreamUnavailable
from penstock.features.spec import StoreLayout
from penstock_transformer.store.feast_import import unchecked
from penstock_transformer.store.port import RowWrite, SetColumns, SetRead
from penstock_transformer.store.settings import DEFAULT, StoreSettings
from penstock_transformer.store.store_thread import StoreThread
from penstock_transformer.store.view import View, Views, event_time_of

T = TypeVar("T")


class FeastStore:
    """The online store of the Feast repository at `path` (its folder or its feature_store.yaml), a `FeatureStore`."""

    def __init__(self, path: Path, layout: StoreLayout, settings: StoreSettings = DEFAULT) -> None:
        self._path = path
        self._layout = layout
        self._views = Views(layout)
        self._settings = settings
        self._thread = StoreThread("feast", settings)
        self._feast: Any = None

    async def start(self) -> None:
        """Import Feast and open the repository. Raises InvalidInput where Feast is missing or refuses it."""
        self._feast = await self._thread.run(self._open, patient=True)

    def _open(self) -> Any:
        with _quiet():
            try:
                with unchecked():
                    from feast import FeatureStore
            except ImportError:
                raise InvalidInput("feast: needs the Feast SDK; pip install 'feast>=0.66,<0.68'", field="feature_store") from None
            folder = self._path.parent if self._path.suffix in (".yaml", ".yml") else self._path
            try:
                return FeatureStore(repo_path=str(folder))
            except Exception as error:
                raise InvalidInput(f"Feast refuses this repository: {error}", field="feature_store") from None

    async def close(self) -> None:
        """Finish what runs in the thread."""
        await self._thread.close()

    async def read(self, reads: Sequence[SetRead]) -> list[SetColumns]:
        """One call of Feast per view. Raises UpstreamUnavailable, InvalidInput, Overloaded."""
        for one in reads:
            self._views[one.view].codec.encode(one.keys)
        return await self._in_thread(lambda: [self._read(one) for one in reads])

    def _read(self, one: SetRead) -> SetColumns:
        view = self._views[one.view]
        reading = view.reading(one.features)
        if not one.keys:
            return reading.columns([], np.empty(0))
        # Feast wants a feature to read at all; its time is the row's.
        names = reading.names or view.features[:1]
        keys = dict(zip(view.key_names, map(list, zip(*one.keys, strict=True)), strict=True))
        answer = self._feast.get_online_features([f"{view.name}:{name}" for name in names], keys, full_feature_names=False).proto
        place_of = {name: place for place, name in enumerate(answer.metadata.feature_names.val)}
        results = [answer.results[place_of[name]] for name in names]
        rows = [[result.values[row].SerializeToString() for result in results] for row in range(len(one.keys))]
        times = np.array([_seconds(stamp) for stamp in results[0].event_timestamps], np.float64)
        return reading.columns(rows, times)

    async def write(self, rows: Sequence[RowWrite]) -> list[bool]:
        """Rows that are newer than what Feast reads, one after the other."""
        for row in rows:
            view = self._views[row.view]
            view.codec.encode([row.key])
            view.values(row)
        return await self._in_thread(lambda: [self._write(row) for row in rows])

    def _write(self, row: RowWrite) -> bool:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        view, event_time = self._views[row.view], event_time_of(row)
        held = self._read(SetRead(row.view, [row.key], ())).event_times[0]
        if held >= event_time:
            return False
        values = {name: Value.FromString(data) for name, data in view.values(row).items()}
        key = EntityKey(join_keys=view.key_names, entity_values=self._key_values(view, row.key))
        moment = datetime.fromtimestamp(event_time, UTC)
        provider = self._feast._get_provider()
        provider.online_write_batch(self._feast.config, self._definition(view.name), [(key, values, moment, None)], None)
        return True

    def _key_values(self, view: View, key: tuple[Any, ...]) -> list[Any]:
        from feast.protos.feast.types.Value_pb2 import Value

        types = self._layout.views[view.name].keys.values()
        return [Value(**{f"{kind}_val": value}) for kind, value in zip(types, key, strict=True)]

    def _definition(self, name: str) -> Any:
        try:
            return self._feast.get_feature_view(name)
        except Exception:
            return self._feast.get_stream_feature_view(name)

    async def delete(self, view: str, keys: Sequence[tuple[Any, ...]]) -> int:  # noqa: ARG002
        """Not to be had: Feast deletes whole views only."""
        raise UnsupportedType(f"records of {view!r} cannot be deleted through feast:; use the online store's own URL")

    async def scan(
        self,
        view: str,
        cursor: str | None,  # noqa: ARG002
        limit: int,  # noqa: ARG002
    ) -> tuple[list[tuple[Any, ...]], str | None]:
        """Not to be had: Feast reads keys that it is told."""
        raise UnsupportedType(f"records of {view!r} cannot be listed through feast:; use the online store's own URL")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._feast is None:
            raise UpstreamUnavailable("the feature store is not open")

        def quietly() -> T:
            with _quiet():
                return work()

        try:
            return await self._thread.run(quietly)
        except TimeoutError:
            raise UpstreamUnavailable(f"the feature store (Feast) did not answer in {self._settings.timeout_s} s") from None
        except PenstockError:
            raise
        except Exception as error:
            # Whatever the store behind Feast raises when it is away; the text is all that they have in common.
            raise UpstreamUnavailable(f"the feature store (Feast) failed: {type(error).__name__}: {error}") from None


def _seconds(stamp: Any) -> float:
    seconds = float(stamp.seconds + stamp.nanos / 1e9)
    # Feast says "not found" with the epoch itself.
    return seconds if seconds else math.nan


@contextmanager
def _quiet() -> Iterator[None]:
    """Feast's warnings and log lines stay inside it."""
    logging.getLogger("feast").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
