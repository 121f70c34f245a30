"""One read of many keys and views is one round trip, whatever the store: counted by a proxy in front of the real server."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import FeatureStore, RowWrite, SetRead


class CountingProxy:
    """Passes bytes both ways; `turns` counts how often the client spoke after the server had."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._heard_last = "server"
        self._open: set[asyncio.Task[None]] = set()
        self.turns = 0

    async def __aenter__(self) -> "CountingProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        # The store is closed by now, so that every connection comes to its end.
        await asyncio.wait_for(asyncio.gather(*self._open), 30)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        ways = ((reader, there_writer, "client"), (there_reader, writer, "server"))
        self._open.update(asyncio.ensure_future(self._pass(*way)) for way in ways)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: str) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                if who == "client" and self._heard_last == "server":
                    self.turns += 1
                self._heard_last = who
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()


def through(online: Any, work: Callable[[FeatureStore, CountingProxy], Awaitable[Any]]) -> Any:
    """Run `work` on the store behind a proxy."""
    parts = urlsplit(online.url)

    async def run() -> Any:
        async with CountingProxy(parts.hostname or "", parts.port or 0) as proxy:
            store = open_store(online.url.replace(f":{parts.port}", f":{proxy.port}", 1), online.layout)
            await store.start()
            try:
                return await work(store, proxy)
            finally:
                await store.close()

    return asyncio.run(run())


def test_a_read_of_several_views_and_many_keys_is_one_round_trip(online: Any) -> None:
    if online.kind == "sqlite":  # a file has no round trips
        return
    reads = [
        SetRead("by_int64", [(n,) for n in range(5000, 5300)], ("name", "amount", "count")),
        SetRead("by_string", [("trip",), ("gone",)], ("count",)),
        SetRead("by_two", [("trip", 1)], ("amount", "name")),
    ]

    async def work(store: FeatureStore, proxy: CountingProxy) -> tuple[list[int], list[Any]]:
        await store.write([RowWrite("by_int64", (n,), {"count": n, "name": str(n)}, 1_700_000_000.0) for n in range(5000, 5300)])
        await store.read(reads)  # PostgreSQL prepares the statement the first time
        turns = []
        for _ in range(3):
            before = proxy.turns
            found = await store.read(reads)
            turns.append(proxy.turns - before)
        return turns, found[0].columns["count"].to_list()

    turns, counts = through(online, work)
    assert turns == [1, 1, 1]
    assert counts == list(range(5000, 5300))
