"""A predictor and its repository in one process: models are put into folders, loaded and asked."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, InferResponse, infer
from penstock.tensors import Tensor
from penstock.testing import models
from penstock_predictor.loading import LoadedModel, load_model
from penstock_predictor.predictor import Predictor
from penstock_predictor.reloading import PredictorRepository
from penstock_predictor.repository import Place
from penstock_predictor.settings import ModelSettings
from penstock_predictor.source import DirectorySource

QUICK = ModelSettings(max_rows=2, profile_s=0.0, threads=1)


class Loads:
    """`load_model`, counted; `before` runs in the loading thread, before the files are read."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.before: Callable[[Place], None] = lambda _: None

    def __call__(self, place: Place, settings: ModelSettings) -> LoadedModel:
        self.places.append(f"{place.model}/{place.version}")
        self.before(place)
        return load_model(place, settings)


@pytest.fixture
def put() -> Callable[[Path, int], None]:
    """`put(directory, seed)`: a plain model there, in one step; another one for each seed."""

    def put_there(directory: Path, seed: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.tmp").write_bytes(models.mlp((3, 4, 1), seed=seed))
        (directory / "model.tmp").rename(directory / "model.onnx")

    return put_there


@pytest.fixture
def held_by() -> Callable[[Path, Callable[[PredictorRepository, Predictor, Loads], Awaitable[None]]], None]:
    """`held_by(directory, work)`: runs `work(repository, predictor, loads)` with the directory's models loaded as `m`."""

    def hold(directory: Path, work: Callable[[PredictorRepository, Predictor, Loads], Awaitable[None]]) -> None:
        async def run() -> None:
            predictor, loads = Predictor(), Loads()
            repository = PredictorRepository(predictor, DirectorySource(directory, "m"), QUICK, load=loads)
            await repository.start()
            try:
                await work(repository, predictor, loads)
            finally:
                await predictor.close()

        asyncio.run(run())

    return hold


@pytest.fixture
def ask() -> Callable[..., Awaitable[InferResponse]]:
    """`await ask(predictor, model, version)`: what a model answers."""

    async def ask_one(predictor: Predictor, model: str = "m", version: str | None = None) -> InferResponse:
        tensor = Tensor.from_array("x", np.zeros((1, 3), np.float32))
        return await infer(predictor, InferRequest(model, [tensor], Context("1"), version=version))

    return ask_one
