"""A load while a test does something: started, ended, and what came of it.

    with load(flights, path) as end: …; result = end()              from a pod, by the Service's name
    with load_beside(flights, path) as end: …; result = end()       from this machine: needs neither API server nor kubelet

Invariant: the load is ended whatever the test does, and its result is that of every request that it sent.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bed.flights import MODEL, Flights

SCRIPT = Path(__file__).parents[1] / "load.py"
THREADS, PER_SECOND = "6", "30"
STOP = "/tmp/stop-{}"
SERVICE = f"{MODEL}-transformer"
ENDED_S = 60.0
End = Callable[[], dict[str, Any]]


@contextmanager
def load(flights: Flights, path: str, service: str = SERVICE) -> Iterator[End]:
    """Requests from a pod of the same namespace; calling what this gives ends them and tells what came of them. One at a time
    for a Service."""
    url = f"http://{service}.{flights.namespace}{path}"
    command = ["kubectl", "--namespace", flights.namespace, "exec", "-i", "filler", "--"]
    stop = STOP.format(service)
    with _running(
        flights,
        [*command, "python3", "-", url, THREADS, PER_SECOND, stop],
        lambda: flights.kubectl("exec", "filler", "--", "touch", stop),
    ) as end:
        yield end


@contextmanager
def load_beside(flights: Flights, path: str) -> Iterator[End]:
    """The same requests from this machine, to the Service's own address: they go on whatever is done to the control plane."""
    with (
        tempfile.TemporaryDirectory(prefix="penstock-load-") as folder,
        flights.cluster.reach(flights.namespace, SERVICE, 80) as (host, port),
    ):
        stop = Path(folder) / "stop"
        command = [sys.executable, "-", f"http://{host}:{port}{path}", THREADS, PER_SECOND, str(stop)]
        with _running(flights, command, stop.touch) as end:
            yield end


@contextmanager
def _running(flights: Flights, command: Sequence[str], stop: Callable[[], object]) -> Iterator[End]:
    environment = {**os.environ, **flights.cluster.environment}
    with SCRIPT.open() as script, subprocess.Popen(command, stdin=script, stdout=subprocess.PIPE, env=environment) as running:
        ended: list[dict[str, Any]] = []

        def end() -> dict[str, Any]:
            if not ended:
                stop()
                output, _ = running.communicate(timeout=ENDED_S)
                ended.append(json.loads(output))
            return ended[0]

        try:
            yield end
        finally:
            end()
