"""`python -m penstock.testing.mortal_predictor --model_name M --bundle DIRECTORY`: a predictor that some rows end, and that
comes back.

A row whose first value is `--poison` ends the serving process as a fault of the model's native code would, whatever else is in
the batch. The process that watches over it forks the next one at once, on the same port; it has no threads and is warm.
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.serving.app import build_app
from penstock.serving.options import ServingSettings
from penstock.serving.server import Service, run
from penstock.settings import parse, setting
from penstock.tensors import Array
from penstock.testing.bundles import FakePredictor, row_sums


@dataclass(frozen=True, kw_only=True)
class MortalSettings(ServingSettings):
    """What every serving program takes, and what ends this one."""

    model_name: str = setting(text="Name of the model in URLs.")
    bundle: Path = setting(text="Directory of the bundle that it says it holds.")  # noqa: RUF009
    poison: float = setting(666.0, "The first value of a row that ends the process.")


def build(settings: MortalSettings) -> Service:
    """The predictor as a program makes it."""

    def compute(tensors: dict[str, Array]) -> dict[str, Array]:
        if (tensors["x"][:, 0] == settings.poison).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return {"y": row_sums(tensors)["y"].reshape(-1, 1)}

    files = {path.name: path.read_bytes() for path in settings.bundle.iterdir() if path.name != "model.onnx"}
    plane = FakePredictor(files, model=settings.model_name, compute=compute)
    lifecycle, metrics = Lifecycle(), Metrics()
    app = build_app(plane, lifecycle=lifecycle, metrics=metrics, shell_limits=settings.shell_limits())
    return Service(app, lifecycle, metrics)


def main() -> None:
    """Serve; serve again whenever the serving process was killed."""
    settings = parse(MortalSettings, sys.argv[1:], os.environ, "PENSTOCK_MORTAL")
    child = 0

    def stop(*_: Any) -> None:
        if child:
            os.kill(child, signal.SIGKILL)
        os._exit(0)

    while True:
        child = os.fork()
        if not child:
            run(lambda: build(settings), settings)
            os._exit(0)
        signal.signal(signal.SIGTERM, stop)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
