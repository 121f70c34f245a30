"""Feast's Redis online store: one pipelined write and one run of replies per batch, whatever its views and keys.

SetRead … -> HMGET per key --RedisConnection--> replies -> Reading.columns
RowWrite … -> compare-and-set script per row   --RedisConnection--> which were newer
"""

import math
from collections.abc import Sequence
from typing import Any

import hiredis
import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.features.spec import StoreLayout
from penstock_transformer.store.port import RowWrite, SetColumns, SetRead
from penstock_transformer.store.redis_commands import SCRIPT, fetch, glob, pack, remove, store, time_field
from penstock_transformer.store.redis_connection import RedisConnection
from penstock_transformer.store.redis_url import RedisAddress
from penstock_transformer.store.settings import DEFAULT, StoreSettings
from penstock_transformer.store.view import Views
from penstock_transformer.store.wire import decode_timestamp

# Event times seen lately: a load writes thousands of rows with the same one.
_TIMES = 4096
# SCANs that one page may take before it is handed over short: a project may be a small part of a large Redis.
_SCANS_A_PAGE = 50


class RedisStore:
    """The online store in one Redis (a `FeatureStore`)."""

    def __init__(self, address: RedisAddress, layout: StoreLayout, settings: StoreSettings = DEFAULT) -> None:
        self._address = address
        self._views = Views(layout)
        self._project = layout.project.encode()
        self._connection = RedisConnection(address, settings)
        self._times: dict[bytes, float] = {}

    async def start(self) -> None:
        """Connect and log in. Raises UpstreamUnavailable."""
        await self._connection.connect()

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def read(self, reads: Sequence[SetRead]) -> list[SetColumns]:
        """One round trip. Raises UpstreamUnavailable, InvalidInput, Overloaded."""
        project = self._project
        work, payload, total = [], [], 0
        for read in reads:
            view = self._views[read.view]
            reading = view.reading(read.features)
            count = len(read.keys)
            if count:
                payload.append(fetch(reading, [key + project for key in view.codec.encode(read.keys)]))
            work.append((reading, count))
            total += count
        replies = await self._connection.execute(b"".join(payload), total, again=True) if total else []
        out, start = [], 0
        for reading, count in work:
            rows = replies[start : start + count] if count != total else replies
            start += count
            out.append(reading.columns(rows, self._event_times(rows)))
        return out

    def _event_times(self, rows: list[Any]) -> npt.NDArray[np.float64]:
        known = self._times
        try:
            stamps = [row[-1] for row in rows]
        except TypeError:
            raise self._refused(next(row for row in rows if row.__class__ is not list)) from None
        times = list(map(known.get, stamps))
        if None in times:
            times = [known[stamp] if stamp in known else self._event_time(stamp) for stamp in stamps]
        return np.array(times, np.float64)

    def _event_time(self, stamp: bytes | None) -> float:
        if stamp is None:
            return math.nan
        if len(self._times) >= _TIMES:
            self._times.clear()
        try:
            seconds = self._times[stamp] = decode_timestamp(stamp)
        except ValueError as error:
            raise UpstreamUnavailable(f"the feature store holds an event time that cannot be read: {error}") from None
        return seconds

    async def write(self, rows: Sequence[RowWrite]) -> list[bool]:
        """Each row is compared and set by itself; rows of one entity take effect in the order given."""
        commands = []
        for row in rows:
            view = self._views[row.view]
            key = view.codec.encode([row.key])[0] + self._project
            commands.append(store(view, key, row, self._address.key_ttl_s))
        replies = await self._run(commands)
        missing = [place for place, reply in enumerate(replies) if str(reply).startswith("NOSCRIPT")]
        if missing:
            again = await self._run([pack(b"SCRIPT", b"LOAD", SCRIPT), *(commands[place] for place in missing)])
            for place, reply in zip(missing, again[1:], strict=True):
                replies[place] = reply
        return [self._number(reply) == 1 for reply in replies]

    async def delete(self, view: str, keys: Sequence[tuple[Any, ...]]) -> int:
        """Remove a view's values of the entities; other views' values of the same entities stay."""
        found = self._views[view]
        replies = await self._run([remove(found, key + self._project) for key in found.codec.encode(keys)])
        return sum(self._number(reply) > 0 for reply in replies)

    async def scan(self, view: str, cursor: str | None, limit: int) -> tuple[list[tuple[Any, ...]], str | None]:
        """Keys in Redis's own order. As with SCAN itself, a key may come twice while the store is growing.

        A cursor is Redis's, and how many keys of that step were handed over already.
        """
        found = self._views[view]
        step, skip = _steps(cursor)
        pattern, stamp = glob(found.codec.prefix), time_field(found)
        out: list[tuple[Any, ...]] = []
        for _ in range(_SCANS_A_PAGE):
            (reply,) = await self._run([pack(b"SCAN", b"%d" % step, b"MATCH", pattern, b"COUNT", b"%d" % max(limit, 100))])
            if isinstance(reply, hiredis.ReplyError):
                raise self._refused(reply)
            keys = [key for key in reply[1] if self._is_ours(found.codec.decode(key))]
            held = await self._run([pack(b"HEXISTS", key, stamp) for key in keys])
            here = [found.codec.decode(key)[0] for key, yes in zip(keys, held, strict=True) if yes == 1]  # type: ignore[index]
            room = limit - len(out)
            out += here[skip : skip + room]
            if len(here) > skip + room:
                return out, f"{step}:{skip + room}"
            step, skip = int(reply[0]), 0
            if not step:
                return out, None
            if len(out) == limit:
                break
        return out, f"{step}:0"

    def _is_ours(self, decoded: tuple[tuple[Any, ...], bytes] | None) -> bool:
        return decoded is not None and decoded[1] == self._project

    async def _run(self, commands: list[bytes]) -> list[Any]:
        return await self._connection.execute(b"".join(commands), len(commands)) if commands else []

    def _number(self, reply: Any) -> int:
        if not isinstance(reply, int):
            raise self._refused(reply)
        return reply

    def _refused(self, reply: Any) -> UpstreamUnavailable:
        text = str(reply)
        if text.startswith(("MOVED", "ASK", "CLUSTERDOWN")):
            return UpstreamUnavailable(f"{self._address.label} is a Redis Cluster, which is not read directly; use feast:…")
        return UpstreamUnavailable(f"the feature store ({self._address.label}) answered: {text[:200]}")


def _steps(cursor: str | None) -> tuple[int, int]:
    try:
        step, skip = (cursor or "0:0").split(":")
        return int(step), int(skip)
    except ValueError:
        raise InvalidInput("expected a cursor of an earlier page", field="cursor") from None
