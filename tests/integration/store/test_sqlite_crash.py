"""A writer that is killed in the middle of a transaction: the file is read on as it was before, by readers that never write."""

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from penstock.features.spec import StoreLayout, ViewLayout
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import RowWrite, SetRead
from penstock_transformer.store.sqlite_file import SqliteFile

LAYOUT = StoreLayout("shop", 3, {"v": ViewLayout({"id": "int64"}, {"count": "int64"})})
COLUMNS = "entity_key BLOB, feature_name TEXT, value BLOB, event_ts timestamp, created_ts timestamp"
READ = [SetRead("v", [(1,)], ("count",))]
# With no room in its cache it writes pages into the file before it commits: what it leaves has to be rolled back.
HALF_DONE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE shop_v SET value = x'00'")
for n in range(2000):
    connection.execute("INSERT INTO shop_v (entity_key, feature_name, value) VALUES (?, 'count', zeroblob(500))", (b"%d" % n,))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_reader_undoes_what_a_killed_writer_left(tmp_path: Path) -> None:
    file = tmp_path / "online.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE shop_v ({COLUMNS}, PRIMARY KEY (entity_key, feature_name))")

    async def case() -> None:
        store = open_store(f"sqlite:///{file}", LAYOUT)
        await store.start()
        await store.write([RowWrite("v", (1,), {"count": 7}, 100.0)])
        await store.close()
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", HALF_DONE, str(file))
        assert await killed.wait() == -signal.SIGKILL
        assert (tmp_path / "online.db-journal").stat().st_size > 0
        only = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        with closing(only), pytest.raises(sqlite3.OperationalError, match="readonly"):
            only.execute("SELECT count(*) FROM shop_v")
        reader = open_store(f"sqlite:///{file}", LAYOUT)
        await reader.start()
        assert (await reader.read(READ))[0].columns["count"].to_list() == [7]
        await reader.close()

    asyncio.run(case())


def test_readers_write_nothing(tmp_path: Path) -> None:
    file = tmp_path / "online.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE t (a)")
    reader = SqliteFile(file, "shop", writable=False, wait_s=0.0)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("INSERT INTO t VALUES (1)")
    reader.close()
