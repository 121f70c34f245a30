"""Each place where predictions are kept, empty; the same tests judge all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.memory import MemoryPredictions

Case = Callable[[Any], Awaitable[None]]
Run = Callable[[Case], None]


@pytest.fixture
def postgres_url(own_schema: str) -> str:
    return own_schema


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
