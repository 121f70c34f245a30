"""LitServe around the session: its batching on, its faster queue, one worker, no access log."""

from typing import Any

import litserve
import numpy as np
from session import Session, options

given = options()


class Onnx(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.session = Session(given.model)

    def decode_request(self, request: dict[str, Any]) -> Any:
        return np.asarray(request["x"], self.session.dtype)

    def batch(self, inputs: list[Any]) -> Any:
        return np.concatenate(inputs)

    def predict(self, x: Any) -> Any:
        return self.session(x)

    def unbatch(self, output: Any) -> list[Any]:
        return [output[row : row + 1] for row in range(len(output))]

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"y": output.tolist()}


if __name__ == "__main__":
    api = Onnx(max_batch_size=64, batch_timeout=0.001) if given.batching else Onnx()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(port=given.port, generate_client_file=False, log_level="error", access_log=False)
