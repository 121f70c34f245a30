"""A load from inside the cluster while a test does something: started, ended, and what came of it.

    with load(flights, path) as end: …; result = end()

Invariant: the load is ended whatever the test does, and its result is that of every request that it sent.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bed.flights import MODEL, Flights

SCRIPT = Path(__file__).parents[1] / "load.py"
THREADS, PER_SECOND = "6", "30"


@contextmanager
def load(flights: Flights, path: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Requests from a pod of the same namespace; calling what this gives ends them and tells what came of them."""
    url = f"http://{MODEL}-transformer.{flights.namespace}{path}"
    command = [
        "kubectl",
        "--namespace",
        flights.namespace,
        "exec",
        "-i",
        "filler",
        "--",
        "python3",
        "-",
        url,
        THREADS,
        PER_SECOND,
    ]
    environment = {**os.environ, **flights.cluster.environment}
    with SCRIPT.open() as script, subprocess.Popen(command, stdin=script, stdout=subprocess.PIPE, env=environment) as running:
        ended: list[dict[str, Any]] = []

        def end() -> dict[str, Any]:
            if not ended:
                flights.kubectl("exec", "filler", "--", "touch", "/tmp/stop")
                output, _ = running.communicate(timeout=60)
                ended.append(json.loads(output))
            return ended[0]

        try:
            yield end
        finally:
            end()
