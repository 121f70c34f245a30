"""Cuts the network between the operator and a model's pods: routes in the operator's network namespace that lead nowhere.

with cut_operator_off(flights): …         the API server stays in its reach, as it is no pod; the pods' own traffic goes on
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bed import chart
from bed.command import run
from bed.flights import MODEL, Flights
from bed.trouble import BedError

PROGRAM = "penstock-operator"


@contextmanager
def cut_operator_off(flights: Flights, *, one_of: str = "") -> Iterator[None]:
    """Nothing that the operator sends to a pod of the model arrives, or comes back; `one_of`: to one pod of that component alone.
    Raises BedError."""
    selector = f"--selector=serving.kserve.io/inferenceservice={MODEL}" + (f",component={one_of}" if one_of else "")
    pods = json.loads(flights.kubectl("get", "pods", selector, "--output=json"))["items"]
    addresses = [pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")][: 1 if one_of else None]
    inside = ["nsenter", f"--net=/proc/{_operator_process(flights)}/ns/net", "ip", "route"]
    for address in addresses:
        run([*inside, "add", "blackhole", f"{address}/32"])
    try:
        yield
    finally:
        for address in addresses:
            run([*inside, "delete", "blackhole", f"{address}/32"])


def _operator_process(flights: Flights) -> int:
    """The id, on this machine, of the process whose address is the operator pod's."""
    where = ["--namespace", chart.NAMESPACE, "get", "pods", "--selector=app.kubernetes.io/component=operator"]
    address = flights.cluster.kubectl(*where, "--output=jsonpath={.items[0].status.podIP}")
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and PROGRAM in _command(folder) and address in _addresses(folder):
            return int(folder.name)
    raise BedError(f"no process of {PROGRAM} has the address {address}")


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _addresses(process: Path) -> str:
    return run(["nsenter", f"--net={process}/ns/net", "ip", "-o", "-4", "address"])
