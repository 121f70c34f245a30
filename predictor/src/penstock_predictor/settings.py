"""The predictor's settings: environment prefix `PENSTOCK_PREDICTOR`."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from penstock.cpus import cpu_limit
from penstock.onnx import Device, SessionSettings
from penstock.serving.options import ServingSettings
from penstock.settings import setting

PREFIX = "PENSTOCK_PREDICTOR"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How models are loaded and batched; what a predictor inside another process is given."""

    device: Device = setting("auto", "Where models run.", choices=get_args(Device))  # noqa: RUF009 - makes a field
    threads: int = setting(0, "Threads of one run; 0 for the CPU limit, or one where the model is measured to be faster so.")
    instances: int = setting(
        1,
        "Runs of one model at once; on a GPU each has its own session. Models cheap enough for the event loop keep one.",
        least=1,
    )
    device_memory_mb: int = setting(0, "Limit of GPU memory a model; 0 for none.", unit="MiB")
    engine_cache: Path | None = setting(None, "Directory where TensorRT keeps built engines, each bundle's apart.")  # noqa: RUF009
    half_precision: bool = setting(False, "Let TensorRT compute in float16.")
    batching: bool = setting(True, "Let requests share runs where the model's rows are independent.")
    max_rows: int = setting(256, "Largest batch that is tried; the cost profile may choose less.", unit="rows")
    max_delay_ms: float = setting(0.0, "Wait this long for a fuller batch; 0 switches waiting off.", unit="ms")
    max_queue_items: int = setting(4096, "Requests that may wait for a run, a model.")
    max_queue_mb: int = setting(256, "Bytes of requests that may wait, a model.", unit="MiB")
    inline_ms: float = setting(0.3, "Runs measured below this take place on the event loop; 0 for none.", unit="ms")
    profile_s: float = setting(
        2.0, "Time given to measuring a model at load; sizes that do not fit into it are not batched to.", unit="s"
    )

    def session(self) -> SessionSettings:
        """The part that makes a session; instances share the processors."""
        shared = max(1, cpu_limit() // self.instances) if self.instances > 1 else 0
        return SessionSettings(
            device=self.device,
            threads=self.threads or shared,
            device_memory_bytes=self.device_memory_mb * 2**20,
            engine_cache=self.engine_cache,
            half_precision=self.half_precision,
            batch_range=(1, min(16, self.max_rows), self.max_rows),
        )


@dataclass(frozen=True, kw_only=True)
class PredictorSettings(ServingSettings, ModelSettings):
    """Everything that `penstock-predictor` takes. KServe's ServingRuntime gives the first two."""

    model_name: str = setting(text="Name of the model in URLs; in a repository the directories name the models.")
    model_dir: str = setting(
        "/mnt/models",
        "A bundle, a directory with a model.onnx, or a directory of such directories; a path, or s3://, gs://, az://, https://.",
    )
    model_cache: Path = setting(  # noqa: RUF009
        Path("/tmp/penstock/models"), "Where models of object stores are kept, by digest; a volume saves fetching them again."
    )
    repository_api: bool = setting(False, "Open the model repository's calls (index, load, unload) on the serving ports too.")
    repository_poll_s: float = setting(
        0.0,
        "Look for new, changed and removed models this often; a change counts once two looks saw the same. 0: never.",
        unit="s",
    )
