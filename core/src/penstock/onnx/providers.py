"""Which execution providers a session uses, and with which settings.

What was asked for by name must be there: falling back from a GPU to the CPU without a word turns a wrong image into a slow
service. Only `auto` may choose.

Source: onnxruntime.ai, "CUDA Execution Provider" and "TensorRT Execution Provider", provider options.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput
from penstock.onnx.settings import SessionSettings, gpu_present

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

Provider = tuple[str, dict[str, Any]]


def choose(settings: SessionSettings, available: Iterable[str], inputs: Sequence[TensorMetadata] = ()) -> list[Provider]:
    """Providers in order of preference, the CPU always last. Raises InvalidInput if the device asked for is not available.

    `inputs` lets TensorRT build one engine for the whole range of batch sizes instead of one a size.
    """
    present = set(available)
    cpu: Provider = (CPU, {})
    match settings.device:
        case "cpu":
            return [cpu]
        case "auto":
            return [_cuda(settings), cpu] if CUDA in present and gpu_present() else [cpu]
        case "cuda":
            _require(CUDA, present)
            return [_cuda(settings), cpu]
        case "tensorrt":
            _require(TENSORRT, present)
            return [_tensorrt(settings, inputs), _cuda(settings), cpu]


def _require(provider: str, present: set[str]) -> None:
    if provider not in present:
        raise InvalidInput(f"this image's ONNX Runtime has no {provider}; it has {', '.join(sorted(present))}", field="device")
    if not gpu_present():
        raise InvalidInput(f"{provider} was asked for and no GPU is given to this container (no /dev/nvidia0)", field="device")


def _cuda(settings: SessionSettings) -> Provider:
    options: dict[str, Any] = {
        "device_id": settings.device_id,
        # Grow by what is asked, not by powers of two: shapes vary, and a pod shares its GPU.
        "arena_extend_strategy": "kSameAsRequested",
        # The exhaustive search runs again for each new shape: seconds in the middle of serving.
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "do_copy_in_default_stream": "1",
    }
    if settings.device_memory_bytes:
        options["gpu_mem_limit"] = settings.device_memory_bytes
    return CUDA, options


def _tensorrt(settings: SessionSettings, inputs: Sequence[TensorMetadata]) -> Provider:
    options: dict[str, Any] = {"device_id": settings.device_id, "trt_fp16_enable": settings.half_precision}
    if settings.device_memory_bytes:
        options["trt_max_workspace_size"] = settings.device_memory_bytes // 2
    if settings.engine_cache is not None:
        options |= {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(settings.engine_cache),
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": str(settings.engine_cache),
        }
    # Shape profiles must name all dynamic inputs or none, and only the batch axis has a range that is known before traffic.
    dynamic = [i for i in inputs if -1 in i.shape]
    if dynamic and all(i.shape[0] == -1 and -1 not in i.shape[1:] for i in dynamic):
        for key, rows in zip(("min", "opt", "max"), settings.batch_range, strict=True):
            shapes = (f"{i.name}:{'x'.join(str(rows if axis == -1 else axis) for axis in i.shape)}" for i in dynamic)
            options[f"trt_profile_{key}_shapes"] = ",".join(shapes)
    return TENSORRT, options
