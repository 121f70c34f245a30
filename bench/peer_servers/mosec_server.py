"""mosec (a Rust front end with Python workers) around the session: one worker, its batching."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from mosec import Server, Worker
from session import Session, options


class Onnx(Worker):
    def __init__(self) -> None:
        super().__init__()
        # A worker is a process of its own that imports this file again, without the options.
        self.session = Session(Path(os.environ["BENCH_MODEL"]))

    def deserialize(self, data: bytes) -> Any:
        return np.asarray(orjson.loads(data)["x"], self.session.dtype)

    def forward(self, data: Any) -> Any:
        output = self.session(np.concatenate(data))
        return np.split(output, np.cumsum([len(array) for array in data])[:-1])

    def serialize(self, data: Any) -> bytes:
        return orjson.dumps({"y": data.tolist()})


if __name__ == "__main__":
    given = options()
    # mosec reads its settings from the command line.
    sys.argv = [sys.argv[0], "--port", str(given.port), "--address", "127.0.0.1", "--timeout", "30000", "--log-level", "error"]
    server = Server()
    server.append_worker(Onnx, num=1, max_batch_size=64, max_wait_time=1)
    server.run()
