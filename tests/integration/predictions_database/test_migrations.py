"""The schema of a database: made at opening, once, whoever opens it; what a newer release made is refused."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import penstock_transformer.predictions.database.migrations as migrations
from penstock.errors import InvalidInput
from penstock_transformer.predictions.database.address import read_address
from penstock_transformer.predictions.database.engine import Engine
from penstock_transformer.predictions.database.migrating import HEAD, VERSION_TABLE, migrate
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.database.settings import DatabaseSettings
from penstock_transformer.predictions.database.tables import metadata

FOLDER = Path(migrations.__file__).parent


def differences(connection: sa.Connection) -> list[Any]:
    """What Alembic would change to make the database what the tables say."""
    ours = set(metadata.tables)
    options = {
        "version_table": VERSION_TABLE,
        # SQLite numbers rows without being told to.
        "compare_server_default": connection.dialect.name != "sqlite",
        "include_name": lambda name, kind, _: kind != "table" or name in ours,
    }
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def test_the_migrations_make_what_the_tables_say(url: str) -> None:
    async def go() -> None:
        engine = Engine(read_address(url), DatabaseSettings())
        assert await migrate(engine)
        assert not await migrate(engine)
        assert await engine.read(differences) == []
        await engine.close()

    asyncio.run(go())


def test_head_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_many_who_open_an_empty_database_make_it_once(postgres_url: str) -> None:
    async def go() -> None:
        engines = [Engine(read_address(postgres_url), DatabaseSettings()) for _ in range(6)]
        assert sum(await asyncio.gather(*map(migrate, engines))) == 1
        for engine in engines:
            await engine.close()

    asyncio.run(go())


def test_a_newer_database_is_refused_and_left_alone(url: str) -> None:
    async def go() -> None:
        engine = Engine(read_address(url), DatabaseSettings())
        await migrate(engine)
        await engine.write(lambda c: c.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")))
        await engine.close()
        predictions = open_predictions(url)
        with pytest.raises(InvalidInput, match="'9999', which this release does not know") as raised:
            await predictions.start()
        assert "p@ss" not in str(raised.value)
        await predictions.close()
        after = Engine(read_address(url), DatabaseSettings())
        found = await after.read(lambda c: c.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar())
        assert found == "9999"
        await after.close()

    asyncio.run(go())


def test_what_failed_half_way_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        engine = Engine(read_address(url), DatabaseSettings())
        with monkeypatch.context() as patch:
            patch.setattr("alembic.op.create_index", _fail)
            with pytest.raises(RuntimeError, match="half way"):
                await migrate(engine)
        assert await engine.read(lambda c: set(sa.inspect(c).get_table_names())) == set()
        assert await migrate(engine)
        await engine.close()

    asyncio.run(go())


def test_the_program_migrates_and_says_what_it_cannot(postgres_url: str, tmp_path: Path) -> None:
    secret = tmp_path / "database"
    secret.write_text(postgres_url)
    command = [sys.executable, "-m", "penstock_transformer", "migrate"]
    environment = os.environ | {"PENSTOCK_TRANSFORMER_DATABASE_FILE": str(secret)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["revision"] == HEAD

    async def newer() -> None:
        engine = Engine(read_address(postgres_url), DatabaseSettings())
        await engine.write(lambda c: c.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")))
        await engine.close()

    asyncio.run(newer())
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert "9999" in refused.stdout
    assert "p%40ss" not in refused.stdout


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError("half way")
