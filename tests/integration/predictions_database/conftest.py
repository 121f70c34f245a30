"""Each place where predictions are kept, empty; the same tests judge all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from penstock_transformer.predictions.memory import MemoryPredictions

Case = Callable[[Any], Awaitable[None]]
Run = Callable[[Case], None]


@pytest.fixture(params=["memory"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a case with an empty place of that kind."""

    async def go(case: Case) -> None:
        predictions = MemoryPredictions()
        await predictions.start()
        try:
            async with asyncio.timeout(60):
                await case(predictions)
        finally:
            await predictions.close()

    return lambda case: asyncio.run(go(case))
