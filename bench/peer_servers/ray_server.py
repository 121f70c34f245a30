"""Ray Serve around the session: one replica, its batching, the settings for throughput that its documentation names."""

import os

os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")

from typing import Any

import numpy as np
import ray
from ray import serve
from session import Session, options
from starlette.requests import Request

given = options()


QUIET = {"enable_access_log": False}


@serve.deployment(num_replicas=1, max_ongoing_requests=512, ray_actor_options={"num_cpus": 0.1}, logging_config=QUIET)
class Onnx:
    def __init__(self, model: Any) -> None:
        self.session = Session(model)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def run(self, arrays: list[Any]) -> list[Any]:
        output = self.session(np.concatenate(arrays))
        ends = np.cumsum([len(array) for array in arrays])[:-1]
        return np.split(output, ends)

    async def __call__(self, request: Request) -> dict[str, Any]:
        array = np.asarray((await request.json())["x"], self.session.dtype)
        output = await self.run(array) if given.batching else self.session(array)
        return {"y": output.tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": given.port}, logging_config=QUIET)
    serve.run(Onnx.bind(given.model), blocking=True)  # type: ignore[attr-defined]
