"""The SQLite store: files that come and go, times of several kinds, and threads that do nothing that nobody waits for."""

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from penstock.errors import InvalidInput, Overloaded, UpstreamUnavailable
from penstock.features.spec import StoreLayout, ViewLayout
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import FeatureStore, RowWrite, SetRead
from penstock_transformer.store.settings import StoreSettings

LAYOUT = StoreLayout("shop", 3, {"v": ViewLayout({"id": "int64"}, {"count": "int64", "name": "string"})})
READ = [SetRead("v", [(1,)], ("count", "name"))]
QUICK = StoreSettings(timeout_s=0.5)
ROW = RowWrite("v", (1,), {"count": 1, "name": "one"}, 100.0)


COLUMNS = "entity_key BLOB, feature_name TEXT, value BLOB, vector_value BLOB, event_ts timestamp, created_ts timestamp"


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    return make_file(tmp_path / "online.db")


def make_file(path: Path) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE shop_v ({COLUMNS}, PRIMARY KEY (entity_key, feature_name))")
        connection.commit()
    return path


async def unavailable(store: FeatureStore) -> str:
    with pytest.raises(UpstreamUnavailable) as caught:
        await store.read(READ)
    return str(caught.value)


def test_sqlite_missing_broken_without_tables_and_replaced(tmp_path):
    path = tmp_path / "online.db"

    async def run() -> None:
        store = open_store(f"sqlite:///{path}", LAYOUT, QUICK)
        with pytest.raises(UpstreamUnavailable, match="No such file"):
            await store.start()
        path.write_bytes(b"no database at all" * 100)
        assert "not a database" in await unavailable(store)
        path.unlink()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE other (a)")
        assert "penstock features apply" in await unavailable(store)
        make_file(tmp_path / "new.db").replace(path)
        assert (await store.write([ROW])) == [True]
        (found,) = await store.read(READ)
        assert found.columns["count"].to_list() == [1]
        path.unlink()
        assert "No such file" in await unavailable(store)
        await store.close()

    asyncio.run(run())


def test_sqlite_locked_by_another_process(sqlite_file):
    async def run() -> None:
        store = open_store(f"sqlite:///{sqlite_file}", LAYOUT, QUICK)
        await store.start()
        await store.write([ROW])
        with contextlib.closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            text = await unavailable(store)
            assert "locked" in text or "did not answer" in text
            with pytest.raises(UpstreamUnavailable):
                await store.write([ROW])
            other.execute("ROLLBACK")
        (found,) = await store.read(READ)
        assert found.columns["count"].to_list() == [1]
        await store.close()

    asyncio.run(run())


def test_wrong_input_is_named_and_nothing_is_written(sqlite_file):
    async def run() -> None:
        store = open_store(f"sqlite:///{sqlite_file}", LAYOUT)
        await store.start()
        bad = [
            (RowWrite("v", ("x",), {"count": 1}, 1.0), "id"),
            (RowWrite("v", (2**63,), {"count": 1}, 1.0), "id"),
            (RowWrite("v", (1, 2), {"count": 1}, 1.0), "keys"),
            (RowWrite("v", (1,), {"count": "1"}, 1.0), "count"),
            (RowWrite("v", (1,), {"count": True}, 1.0), "count"),
            (RowWrite("v", (1,), {"counter": 1}, 1.0), "counter"),
            (RowWrite("v", (1,), {"name": "\ud800"}, 1.0), "name"),
            (RowWrite("v", (1,), {"count": 1}, float("nan")), "event_time"),
            (RowWrite("w", (1,), {"count": 1}, 1.0), "w"),
        ]
        for row, field in bad:
            with pytest.raises(InvalidInput) as caught:
                await store.write([ROW, row])
            assert field in (caught.value.field or "")
        for read in (SetRead("v", [("x",)], ("count",)), SetRead("v", [(1,)], ("nothing",)), SetRead("w", [], ())):
            with pytest.raises(InvalidInput):
                await store.read([read])
        with pytest.raises(InvalidInput, match="cursor"):
            await store.scan("v", "zz", 10)
        assert await store.scan("v", None, 10) == ([], None)
        await store.close()

    asyncio.run(run())


def test_reads_that_timed_out_in_line_are_not_done(sqlite_file):
    """Otherwise a store that hangs for a minute would be asked, once it is back, for all that a minute's callers wanted."""

    async def run() -> int:
        store = open_store(f"sqlite:///{sqlite_file}", LAYOUT, StoreSettings(timeout_s=0.05, inline_keys=0))
        await store.start()
        reader = store._reader  # type: ignore[attr-defined]
        busy, done = threading.Event(), []
        real = reader.read

        def slow(*given):
            done.append(given)
            busy.wait(30)
            return real(*given)

        # Whoever is first in line holds the thread until all others have given up.

        reader.read = slow
        for answer in await asyncio.gather(*(store.read(READ) for _ in range(20)), return_exceptions=True):
            assert isinstance(answer, UpstreamUnavailable)
        busy.set()
        await store.close()
        return len(done)

    assert asyncio.run(run()) == 1


def test_a_closed_store_stays_closed(sqlite_file):
    async def run() -> None:
        store = open_store(f"sqlite:///{sqlite_file}", LAYOUT)
        await store.start()
        await store.write([ROW])
        await store.close()
        for call in (store.read(READ), store.write([ROW]), store.delete("v", [(1,)]), store.scan("v", None, 1), store.start()):
            with pytest.raises(UpstreamUnavailable, match="closed"):
                await call
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("stored", [None, "2020-01-01T00:00:00", "2020-01-01 00:00:00+00:00"])
def test_event_times_of_several_kinds_in_one_table(sqlite_file, stored):
    """Feast's writers of other versions, and hands, leave texts and nothing at all beside whole seconds."""

    async def run() -> None:
        store = open_store(f"sqlite:///{sqlite_file}", LAYOUT)
        await store.start()
        await store.write([ROW, RowWrite("v", (2,), {"count": 2, "name": "two"}, 200.0)])
        with contextlib.closing(sqlite3.connect(sqlite_file)) as connection:
            connection.execute(
                "UPDATE shop_v SET event_ts = ? WHERE feature_name = 'name' AND event_ts = 200",
                (stored,),
            )
            connection.commit()
        (found,) = await store.read([SetRead("v", [(1,), (2,)], ("count", "name"))])
        assert found.columns["count"].to_list() == [1, 2]
        assert found.event_times.tolist() == [100.0, 0.0 if stored is None else 200.0]
        await store.close()

    asyncio.run(run())


def test_writes_a_microsecond_apart(sqlite_file):
    async def run() -> list[bool]:
        store = open_store(f"sqlite:///{sqlite_file}", LAYOUT)
        await store.start()
        moments = [1_000.0 + micros / 1e6 for micros in (0, 1, 1, 2, 999_999)]
        done = await store.write([RowWrite("v", (1,), {"count": at, "name": "x"}, moment) for at, moment in enumerate(moments)])
        await store.close()
        return done

    assert asyncio.run(run()) == [True, True, False, True, True]


def test_more_writes_than_allowed_are_overload(sqlite_file):
    async def run() -> None:
        store = open_store(f"sqlite:///{sqlite_file}", LAYOUT, StoreSettings(max_in_flight=2))
        await store.start()
        answers = await asyncio.gather(*(store.write([ROW]) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [list, list, Overloaded]
        assert await store.write([ROW]) == [False]
        await store.close()

    asyncio.run(run())
