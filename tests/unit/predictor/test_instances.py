"""Several instances of a model: they run at once, each caller gets its own rows, and cheap models keep to one."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import InvalidInput, Overloaded
from penstock.onnx import session as session_module
from penstock.tensors import Tensor
from penstock.testing import models
from penstock_predictor import loading
from penstock_predictor.loading import load_directory
from penstock_predictor.predictor import Predictor
from penstock_predictor.settings import ModelSettings

# Nothing inline: on this machine every small model would be cheap enough for the loop.
SEVERAL = ModelSettings(instances=3, inline_ms=0.0, max_rows=2, profile_s=0.0)


def put(directory: Path, model: bytes) -> Path:
    (directory / "model.onnx").write_bytes(model)
    return directory


async def ask(predictor: Predictor, value: float) -> Any:
    tensor = Tensor.from_array("x", np.full((2, 3), value, np.float32))
    return (await infer(predictor, InferRequest("m", [tensor], Context("1")))).outputs[0].array.tolist()


def test_instances_run_at_once_and_each_caller_gets_its_own(tmp_path: Path) -> None:
    together = threading.Barrier(3)

    async def work() -> None:
        predictor = Predictor()
        (loaded,) = load_directory(put(tmp_path, models.doubled()), "m", SEVERAL)
        assert len(loaded.sessions) == 3
        assert len({id(session) for session in loaded.sessions}) == 1
        assert loaded.policy.max_in_flight == 3
        real = loaded.session.run

        def run(*given: Any, **named: Any) -> Any:
            # Passed only when three runs are under way in three threads.
            together.wait(20)
            return real(*given, **named)

        loaded.session.run = run  # type: ignore[method-assign]
        predictor.add([loaded])
        answers = await asyncio.gather(*(ask(predictor, n) for n in range(6)))
        assert answers == [[[2 * n] * 3] * 2 for n in range(6)]
        assert (await predictor.metadata("m")).properties["instances"] == 3
        await predictor.close()

    asyncio.run(work())


def test_a_cheap_model_keeps_one_instance_and_the_loop(tmp_path: Path) -> None:
    (loaded,) = load_directory(put(tmp_path, models.doubled()), "m", replace(SEVERAL, inline_ms=1e6))
    assert len(loaded.sessions) == 1
    assert loaded.policy.inline_rows > 0
    assert loaded.policy.max_in_flight == 1


def test_on_an_accelerator_each_instance_has_a_session_and_its_engines_are_the_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU in the accelerator's place: what is checked is which sessions are made, and with which settings."""
    put(tmp_path, models.doubled())
    made: list[Any] = []
    real = loading.load

    def load(path: Path, settings: Any) -> Any:
        made.append(settings)
        session = real(path, settings)
        session.on_cpu = False
        return session

    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr(loading, "stage", lambda *_, **__: True)
    settings = replace(SEVERAL, engine_cache=tmp_path / "engines", instances=2)
    (loaded,) = load_directory(tmp_path, "m", settings)
    assert len({id(session) for session in loaded.sessions}) == 2
    (cache,) = (tmp_path / "engines").iterdir()
    assert {each.engine_cache for each in made} == {cache}
    assert len(cache.name) == 64

    async def work() -> None:
        predictor = Predictor()
        predictor.add([loaded])
        answers = await asyncio.gather(*(ask(predictor, n) for n in range(6)))
        assert answers == [[[2 * n] * 3] * 2 for n in range(6)]
        await predictor.close()
        assert all(session._session is None for session in loaded.sessions)

    asyncio.run(work())
    put(tmp_path, models.doubled(axes=("other", 3)))
    load_directory(tmp_path, "m", settings)
    assert len(list((tmp_path / "engines").iterdir())) == 2


def test_an_engine_cache_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    put(tmp_path, models.doubled())
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=r"engine_cache: .* cannot be made"):
        load_directory(tmp_path, "m", replace(SEVERAL, engine_cache=tmp_path / "file" / "x"))


def test_a_model_that_the_device_does_not_hold_is_told_apart_from_one_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr(session_module, "_make", full)
    with pytest.raises(Overloaded, match="does not hold the model"):
        load_directory(put(tmp_path, models.doubled()), "m", SEVERAL)


def test_a_gpu_that_does_not_start_leaves_the_cpu_only_to_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library gives a session without the provider that was asked for: what it does where CUDA's libraries are missing."""
    monkeypatch.setattr(
        session_module.providers, "choose", lambda *_: [("CUDAExecutionProvider", {}), ("CPUExecutionProvider", {})]
    )
    monkeypatch.setattr(session_module.ort, "preload_dlls", lambda: None, raising=False)
    real = session_module.ort.InferenceSession

    def without_cuda(source: Any, options: Any, providers: Any, provider_options: Any) -> Any:
        return real(source, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(session_module.ort, "InferenceSession", without_cuda)
    put(tmp_path, models.doubled())
    assert load_directory(tmp_path, "m", replace(SEVERAL, device="auto"))[0].session.on_cpu
    with pytest.raises(InvalidInput, match="CUDAExecutionProvider did not start"):
        load_directory(tmp_path, "m", replace(SEVERAL, device="cuda"))
