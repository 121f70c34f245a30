"""BentoML around the session: its adaptive batching on or off by BENCH_BATCHING. The harness runs `bentoml serve`."""

import os
from pathlib import Path

import bentoml
import numpy as np
from session import Session

BATCHING = os.environ.get("BENCH_BATCHING") == "1"


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Onnx:
    def __init__(self) -> None:
        self.session = Session(Path(os.environ["BENCH_MODEL"]))

    @bentoml.api(batchable=BATCHING, max_batch_size=64, max_latency_ms=1000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.session(x))
