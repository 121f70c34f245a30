"""A Deployment behind the InferenceService is rolled under load from inside the cluster, and no request fails.

What this holds to: SIGTERM makes a pod unready, it goes on serving until the endpoints have forgotten it, and only then it ends.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bed import flights as example
from bed.flights import MODEL, RECORD, Flights

SCRIPT = Path(__file__).with_name("load.py")


@contextmanager
def load(flights: Flights, path: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Requests from a pod of the same namespace; calling what this gives ends them and tells what came of them."""
    url = f"http://{MODEL}-transformer.{flights.namespace}{path}"
    command = ["kubectl", "--namespace", flights.namespace, "exec", "-i", "filler", "--", "python3", "-", url, "6", "60"]
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


@pytest.mark.parametrize("component", ["transformer", "predictor"])
def test_no_request_fails_while_pods_are_replaced(served: Flights, component: str) -> None:
    deployment = f"deployment/{MODEL}-{component}"
    served.kubectl("rollout", "status", deployment, "--timeout=60s")
    with load(served, f"/predict/{RECORD}") as end:
        for _ in range(2):
            served.kubectl("rollout", "restart", deployment)
            served.kubectl("rollout", "status", deployment, "--timeout=120s")
        result = end()
    print(result)
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    assert result["statuses"]["200"] > 100
    assert list(result["bundles"]) == [f"{MODEL}@{example.digest(served.bundle)}"]
