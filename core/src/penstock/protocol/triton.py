"""Documents that Triton's clients ask for beside the Open Inference Protocol: a model's configuration and its statistics.

    ModelMetadata -> model_config;  snapshots of the counters -> model_statistics: pure, for REST and gRPC alike

`perf_analyzer` reads both before and during a run. Only what is true here is said: members of Triton that have no meaning for
this server are left out, which its clients take for their defaults.

Source: Triton's protocol extensions "Model Configuration" and "Statistics"; names of fields as in its JSON.
"""

from collections.abc import Iterable
from typing import Any

from penstock.dataplane import ModelMetadata, TensorMetadata
from penstock.metrics import Metrics, Snapshot

DEFAULT_MAX_ROWS = 1024
"""The largest batch that is told where the data plane says none (a transformer splits what is larger)."""


def model_config(metadata: ModelMetadata) -> dict[str, Any]:
    """A model's configuration. `max_batch_size` is 0, and shapes are whole, unless every tensor has an axis of rows and another:
    Triton's clients take no shape without axes for a row of a batch."""
    batched = _is_batched(metadata)
    config: dict[str, Any] = {
        "name": metadata.name,
        "platform": metadata.platform,
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": _max_rows(metadata) if batched else 0,
        "input": [_tensor(tensor, batched) for tensor in metadata.inputs],
        "output": [_tensor(tensor, batched) for tensor in metadata.outputs],
        "model_transaction_policy": {"decoupled": False},
    }
    if batched:
        config["dynamic_batching"] = {}
    return config


def model_statistics(metadata: ModelMetadata, snapshots: Iterable[Snapshot]) -> dict[str, Any]:
    """One model's statistics, over all its bundles since the process began.

    Time is not told apart by outcome: `success.ns` holds that of failed requests too. `compute_infer` is the time beside the
    queue, reading and writing included; the three `compute` counts are equal, on which perf_analyzer insists. `inference_count`
    counts rows, `execution_count` batches.
    """
    metrics = Metrics()
    metrics.merge(entry for entry in snapshots if entry["model"] == metadata.name)
    found = [metrics.model(entry["model"], entry["bundle"]) for entry in metrics.snapshot() if entry["model"]]
    requests, failed = sum(one.requests for one in found), sum(sum(one.errors.values()) for one in found)
    total_ns, queue_ns = _ns(one.latency.sum for one in found), _ns(one.queue_wait.sum for one in found)
    waited = sum(sum(one.queue_wait.counts) for one in found)
    return {
        "name": metadata.name,
        "version": metadata.versions[-1] if metadata.versions else "",
        "inference_count": int(sum(one.batch_rows.sum for one in found)),
        "execution_count": sum(sum(one.batch_rows.counts) for one in found),
        "inference_stats": {
            "success": {"count": requests - failed, "ns": total_ns},
            "fail": {"count": failed, "ns": 0},
            "queue": {"count": waited, "ns": queue_ns},
            "compute_input": {"count": waited, "ns": 0},
            "compute_infer": {"count": waited, "ns": max(0, total_ns - queue_ns)},
            "compute_output": {"count": waited, "ns": 0},
        },
        "batch_stats": [],
    }


def _is_batched(metadata: ModelMetadata) -> bool:
    batching = metadata.properties.get("batching") or {}
    tensors = (*metadata.inputs, *metadata.outputs)
    return batching.get("sharing") != "none" and all(len(tensor.shape) > 1 and tensor.shape[0] == -1 for tensor in tensors)


def _max_rows(metadata: ModelMetadata) -> int:
    return int((metadata.properties.get("batching") or {}).get("max_rows") or DEFAULT_MAX_ROWS)


def _tensor(tensor: TensorMetadata, batched: bool) -> dict[str, Any]:
    kind = "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"
    return {"name": tensor.name, "data_type": kind, "dims": list(tensor.shape[1:] if batched else tensor.shape)}


def _ns(seconds: Iterable[float]) -> int:
    return round(sum(seconds) * 1e9)
