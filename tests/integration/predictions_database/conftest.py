"""Each place where predictions are kept, empty; the same tests judge all of them."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from penstock.testing.servers import PostgresServer, ServerMissing
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.memory import MemoryPredictions

Case = Callable[[Any], Awaitable[None]]
Run = Callable[[Case], None]

_schemas = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    try:
        server = PostgresServer().start()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    yield server
    server.close()


@pytest.fixture
def own_schema() -> Callable[[PostgresServer], str]:
    """Makes a schema on a server; its URL."""

    async def make(server: PostgresServer, name: str) -> str:
        connection = await asyncpg.connect(server.url())
        await connection.execute(f"CREATE SCHEMA {name}")
        await connection.close()
        return f"{server.url()}?search_path={name}"

    return lambda server: asyncio.run(make(server, f"test{next(_schemas)}"))


@pytest.fixture
def postgres_url(postgres: PostgresServer, own_schema: Callable[[PostgresServer], str]) -> str:
    """The URL of a schema of the test's own."""
    return own_schema(postgres)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/predictions.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a case with an empty place of that kind."""
    url = None if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")

    async def go(case: Case) -> None:
        predictions = MemoryPredictions() if url is None else open_predictions(url)
        await predictions.start()
        try:
            async with asyncio.timeout(60):
                await case(predictions)
        finally:
            await predictions.close()

    return lambda case: asyncio.run(go(case))
