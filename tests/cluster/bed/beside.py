"""The operator as a program of this machine, in place of its Deployment: one that a test may kill after any call, and start anew
in a second, which the kubelet would put off for longer each time.

    with BesideOperators(flights) as operators: operators.start(failpoints="operator.called=kill@1") …

Other namespaces keep the Deployment's operator, so that tests of theirs may go on beside.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from bed import chart
from bed.flights import Flights
from bed.trouble import BedError
from bed.underway import ENDED_S

from penstock.testing.servers import free_port

DEPLOYMENT = "deployment/penstock-operator"
NAMESPACES = "PENSTOCK_OPERATOR_NAMESPACES"
SELECTOR = "--selector=app.kubernetes.io/component=operator"
GONE_S = 90.0
_PLACE = ("--namespace", chart.NAMESPACE)


class BesideOperators:
    """While it lasts the Deployment's operator leaves the example's namespace to programs with its settings."""

    def __init__(self, flights: Flights) -> None:
        self._flights = flights
        self._running = ExitStack()
        self._environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        cluster = self._flights.cluster
        document = json.loads(cluster.kubectl(*_PLACE, "get", DEPLOYMENT, "--output=json"))
        (container,) = document["spec"]["template"]["spec"]["containers"]
        self._environment = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        others = sorted(chart.admitted(cluster) - {self._flights.namespace}) or [chart.NAMESPACE]
        self._running.callback(self._serve, self._environment.get(NAMESPACES, ""))
        self._serve(",".join(others))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running.close()

    def start(self, *options: str, failpoints: str = "", identity: str = "beside") -> "subprocess.Popen[bytes]":
        """One that runs until it is killed, or this ends. With the same identity the next one has the lease at once, as a pod
        that restarts."""
        cluster = self._flights.cluster
        command = [
            sys.executable, "-m", "penstock_operator", f"--kubeconfig={cluster.kubeconfig}", f"--identity={identity}",
            f"--lease_namespace={chart.NAMESPACE}", "--lease_name=beside", f"--namespaces={self._flights.namespace}",
            f"--http_port={free_port()}", f"--admin_port={free_port()}", "--log_level=warning", *options,
        ]  # fmt: skip
        environment = {**os.environ, **self._environment, "PENSTOCK_FAILPOINTS": failpoints}
        operator = subprocess.Popen(command, env=environment)
        self._running.callback(_end, operator)
        return operator

    def _serve(self, namespaces: str) -> None:
        """Have the Deployment's operator look after these, "" for all."""
        cluster = self._flights.cluster
        cluster.kubectl(*_PLACE, "set", "env", DEPLOYMENT, f"{NAMESPACES}={namespaces}")
        cluster.kubectl(*_PLACE, "rollout", "status", DEPLOYMENT, "--timeout=120s")
        deadline = time.monotonic() + GONE_S
        while len(cluster.kubectl(*_PLACE, "get", "pods", SELECTOR, "--output=name").split()) > 1:
            if time.monotonic() > deadline:
                raise BedError("the operator's pod of before does not go")
            time.sleep(0.5)


def _end(operator: "subprocess.Popen[bytes]") -> None:
    if operator.poll() is None:
        operator.kill()
    operator.wait(ENDED_S)
