"""Provider choice: only `auto` may choose, what was asked for by name must be there."""

from pathlib import Path

import pytest

from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput
from penstock.onnx import SessionSettings, providers
from penstock.onnx.providers import CPU, CUDA, TENSORRT, choose
from penstock.onnx.settings import gpu_present

ALL = [TENSORRT, CUDA, CPU]


def names(chosen: list[providers.Provider]) -> list[str]:
    return [name for name, _ in chosen]


def test_auto_takes_cuda_only_where_a_gpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "gpu_present", lambda: True)
    assert names(choose(SessionSettings(), ALL)) == [CUDA, CPU]
    monkeypatch.setattr(providers, "gpu_present", lambda: False)
    assert names(choose(SessionSettings(), ALL)) == [CPU]


def test_gpu_is_seen_by_its_device_file(tmp_path: Path) -> None:
    assert not gpu_present(tmp_path)
    (tmp_path / "nvidia-caps").touch()
    assert not gpu_present(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert gpu_present(tmp_path)
    (tmp_path / "nvidia0").rename(tmp_path / "dxg")
    assert gpu_present(tmp_path)


def test_cpu_stays_cpu() -> None:
    assert names(choose(SessionSettings(device="cpu"), ALL)) == [CPU]


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_what_is_asked_for_by_name_must_be_there(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SessionSettings(device=device)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"device: this image's ONNX Runtime has no \w+; it has CPUExecutionProvider"):
        choose(settings, [CPU])
    monkeypatch.setattr(providers, "gpu_present", lambda: False)
    with pytest.raises(InvalidInput, match=r"device: .* no GPU is given to this container"):
        choose(settings, ALL)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "gpu_present", lambda: True)


@pytest.mark.usefixtures("gpu")
def test_cuda_settings_suit_varying_shapes() -> None:
    (_, options), _ = choose(SessionSettings(device="cuda", device_memory_bytes=2**30, device_id=1), ALL)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["gpu_mem_limit"] == 2**30
    assert options["device_id"] == 1


@pytest.mark.usefixtures("gpu")
def test_tensorrt_builds_one_engine_for_the_range_of_batches(tmp_path: Path) -> None:
    settings = SessionSettings(device="tensorrt", engine_cache=tmp_path, batch_range=(1, 8, 32), device_memory_bytes=2**20)
    inputs = (TensorMetadata("x", "FP32", (-1, 3, 8)), TensorMetadata("y", "FP32", (-1,)))
    chosen = choose(settings, ALL, inputs)
    assert names(chosen) == [TENSORRT, CUDA, CPU]
    options = chosen[0][1]
    assert options["trt_profile_min_shapes"] == "x:1x3x8,y:1"
    assert options["trt_profile_opt_shapes"] == "x:8x3x8,y:8"
    assert options["trt_profile_max_shapes"] == "x:32x3x8,y:32"
    assert options["trt_engine_cache_path"] == str(tmp_path)
    assert options["trt_max_workspace_size"] == 2**19


@pytest.mark.usefixtures("gpu")
def test_tensorrt_gets_no_profile_where_other_axes_vary() -> None:
    options = choose(SessionSettings(device="tensorrt"), ALL, [TensorMetadata("x", "FP32", (-1, -1))])[0][1]
    assert not [key for key in options if key.startswith("trt_profile")]


def test_only_cpu_sessions_may_have_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.onnx.settings.gpu_present", lambda: False)
    assert SessionSettings().on_cpu()
    monkeypatch.setattr("penstock.onnx.settings.gpu_present", lambda: True)
    assert not SessionSettings().on_cpu()
    assert SessionSettings(device="cpu").on_cpu()
    assert not SessionSettings(device="cuda").on_cpu()
