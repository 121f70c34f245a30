"""Each place where predictions are kept, empty; the same tests judge all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.memory import MemoryPredictions
from penstock_transformer.predictions.resource import Ending, NewPrediction, Payload, State, new_id

Case = Callable[[Any], Awaitable[None]]
Run = Callable[[Case], None]
JSON = (("content-type", b"application/json"),)


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


def new_prediction(body: bytes = b'{"rows": []}', *, model: str = "m", owner: str = "ann", **values: Any) -> NewPrediction:
    payload = values.pop("payload", None) or Payload(body, JSON, len(body))
    digest = values.pop("digest", body)
    return NewPrediction(values.pop("id", None) or new_id(), model, owner, payload, 1, digest, **values)


def succeeded_ending(prediction_id: str, body: bytes = b"[1]", **values: Any) -> Ending:
    return Ending(prediction_id, State.SUCCEEDED, Payload(body, JSON, len(body)), "m@sha256:1", **values)


@pytest.fixture
def new() -> Callable[..., NewPrediction]:
    """Makes predictions to submit."""
    return new_prediction


@pytest.fixture
def succeeded() -> Callable[..., Ending]:
    """Makes endings of predictions, good ones."""
    return succeeded_ending
