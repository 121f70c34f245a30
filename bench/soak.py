"""The soak: requests of random shapes against a predictor, and the memory that it holds while they come.

    bench/soak.py [--requests 1000000]        exits 1 if memory at the end is over that after the first tenth by more than 5 %

Three models: one whose memory follows rows times length, a small network, one of strings. Callers pipeline on kept connections,
JSON and binary mixed, and now and then one is absurdly large. Resident memory is the kernel's, of all the predictor's processes.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from penstock.testing import models
from penstock.testing.raw_http import RawConnection, raw_request
from penstock.testing.server import ServerProcess

MARGIN = 1.05
_POOL = 3000
_PIPELINE = 16
_CLIENTS = 4
# One in so many is a hundred times as large as the rest: its memory must be given back.
_GIANT_EVERY = 20_000


@dataclass
class Course:
    """Resident bytes by requests answered, one entry each hundredth of the way."""

    points: list[tuple[int, int]] = field(default_factory=list)

    def settled(self, total: int) -> int:
        """The highest between the first tenth and the second: a single moment would be chance."""
        return max(size for at, size in self.points if total // 10 <= at <= total // 5)

    def end(self, total: int) -> int:
        """The highest of the last tenth."""
        return max(size for at, size in self.points if at >= total - total // 10)


class Soak:
    """Sends `total` requests and notes memory on the way; `failures` are answers other than 200."""

    def __init__(self, server: ServerProcess, total: int, seed: int = 0) -> None:
        self.server = server
        self.total = total
        self.course = Course()
        self.failures: list[str] = []
        self.answered = 0
        self._lock = threading.Lock()
        self._step = max(total // 100, 1)
        self._pools = [list(requests(np.random.default_rng(seed + number))) for number in range(_CLIENTS)]

    def run(self) -> None:
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self, number: int) -> None:
        pool, rng = self._pools[number], np.random.default_rng(1000 + number)
        giant = sequence_request(rng, 64, 4096)
        with RawConnection(self.server.port, timeout_s=60) as connection:
            sent = 0
            while sent < self.total // _CLIENTS:
                chosen = [pool[index] for index in rng.integers(0, len(pool), _PIPELINE)]
                # In turn: giants that come together are another test.
                at = sent + number * _GIANT_EVERY // _CLIENTS
                if at // _GIANT_EVERY != (at + _PIPELINE) // _GIANT_EVERY:
                    chosen[0] = giant
                connection.send(*chosen)
                for _ in chosen:
                    answer = connection.answer()
                    if answer.status != 200:
                        self.failures.append(f"{answer.status} {answer.body[:200]!r}")
                        return
                sent += _PIPELINE
                self._note(_PIPELINE)

    def _note(self, count: int) -> None:
        with self._lock:
            before, self.answered = self.answered, self.answered + count
            if before // self._step != self.answered // self._step:
                self.course.points.append((self.answered, resident(self.server.pid)))


def resident(pid: int) -> int:
    """Resident bytes of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(own.split()[1]) * 1024 + sum(resident(int(child)) for child in children)


def requests(rng: np.random.Generator) -> Iterator[bytes]:
    """Requests of shapes drawn from wide ranges, to all three models."""
    for _ in range(_POOL):
        match int(rng.integers(4)):
            case 0 | 1:
                yield sequence_request(rng, int(rng.integers(1, 9)), int(2 ** rng.uniform(0, 8)))
            case 2:
                rows = int(rng.integers(1, 65))
                data = rng.normal(size=rows * 8).round(3).tolist()
                yield json_request("mlp", {"name": "x", "datatype": "FP32", "shape": [rows, 8], "data": data})
            case _:
                rows = int(rng.integers(1, 33))
                words = ["w" * int(2 ** rng.uniform(0, 9)) for _ in range(rows)]
                yield json_request("labels", {"name": "word", "datatype": "BYTES", "shape": [rows, 1], "data": words})


def sequence_request(rng: np.random.Generator, rows: int, length: int) -> bytes:
    """A binary request to the model whose memory follows rows times length."""
    data = rng.normal(size=(rows, length)).astype(np.float32).tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, length], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return raw_request("POST", "/v2/models/sequences/infer", head + data, headers)


def json_request(model: str, tensor: dict[str, object]) -> bytes:
    return raw_request("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode())


def repository(directory: Path) -> Path:
    """The models of the soak, as a directory to serve."""
    for name, model in {"sequences": models.sequences(), "mlp": models.mlp((8, 32, 2)), "labels": models.labels()}.items():
        (directory / name).mkdir()
        (directory / name / "model.onnx").write_bytes(model)
    return directory


def soak(total: int) -> Soak:
    """Serve and soak; the server is gone afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        options = ("--model_name", "m", "--model_dir", str(repository(Path(directory))), "--drain_delay_s", "0")
        with ServerProcess("penstock_predictor", *options, "--profile_s", "0.5", "--max_rows", "64") as server:
            run = Soak(server, total)
            run.run()
            return run


def main() -> int:
    parser = argparse.ArgumentParser(description="Requests of random shapes; memory must not grow.")
    parser.add_argument("--requests", type=int, default=1_000_000)
    total = parser.parse_args().requests
    began = time.monotonic()
    run = soak(total)
    if run.failures:
        print(f"failed after {run.answered} requests: {run.failures[0]}")
        return 1
    settled, end = run.course.settled(total), run.course.end(total)
    for at, size in run.course.points[:: max(len(run.course.points) // 20, 1)]:
        print(f"{at:>9} requests  {size / 2**20:7.1f} MiB")
    print(
        f"{run.answered} requests in {time.monotonic() - began:.0f} s; after the first tenth {settled / 2**20:.1f} MiB, "
        f"at the end {end / 2**20:.1f} MiB: {end / settled:.3f} (at most {MARGIN})"
    )
    return 0 if end <= MARGIN * settled else 1


if __name__ == "__main__":
    sys.exit(main())
