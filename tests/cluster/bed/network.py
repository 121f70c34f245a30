"""The cluster's network: a network namespace with one cable to the host, so that nothing else of the host's network changes.

    host 10.199.0.1 --- 10.199.0.2 node (in the namespace), pods 10.199.128.0/18, Services 10.199.64.0/18

Pods reach the host's own address and nothing behind it; the host reaches pods and Services through two routes.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from bed.command import run, succeeds
from bed.trouble import BedError

NAMESPACE = "penstock-bed"
CABLE = "penstock-bed0"
HOST = "10.199.0.1"
NODE = "10.199.0.2"
PODS = "10.199.128.0/18"
SERVICES = "10.199.64.0/18"
API_SERVICE = "10.199.64.1"
_HANDLE = Path("/run/netns") / NAMESPACE


def inside(command: Sequence[str | Path]) -> list[str]:
    """The same command in the namespace. Not `ip netns exec`: that mounts /sys anew, and the kubelet finds no cgroups there."""
    return ["nsenter", f"--net={_HANDLE}", "--", *(str(word) for word in command)]


def exists() -> bool:
    """Whether the namespace is there."""
    return _HANDLE.exists()


def taken() -> str:
    """Which of the cluster's addresses another network of this machine has, in a line; empty if none. Raises BedError."""
    for address in (HOST, SERVICES.split("/")[0], PODS.split("/")[0]):
        route = run(["ip", "-o", "route", "get", address]) if succeeds(["ip", "-o", "route", "get", address]) else ""
        if " via " not in route and " dev " in route and "default" not in route:
            return f"{address} belongs to another network of this machine ({route.strip()}); the cluster needs 10.199.0.0/16"
    return ""


def make() -> None:
    """Namespace, cable, routes. Raises BedError."""
    if reason := taken():
        raise BedError(reason)
    run(["ip", "netns", "add", NAMESPACE])
    run(["ip", "link", "add", CABLE, "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE])
    run(["ip", "address", "add", f"{HOST}/30", "dev", CABLE])
    run(["ip", "link", "set", CABLE, "up"])
    within = ["ip", "-n", NAMESPACE]
    run([*within, "address", "add", f"{NODE}/30", "dev", "eth0"])
    for device in ("eth0", "lo"):
        run([*within, "link", "set", device, "up"])
    run([*within, "route", "add", "default", "via", HOST])
    for block in (PODS, SERVICES):
        run(["ip", "route", "add", block, "via", NODE])
    run(inside(["sysctl", "-qw", "net.ipv4.ip_forward=1"]))


def left_behind() -> list[str]:
    """What is still there of it."""
    if shutil.which("ip") is None:
        return []
    routes = run(["ip", "-o", "route", "show"]).splitlines()
    found = [f"route {route.strip()}" for route in routes if f"dev {CABLE}" in route or f"via {NODE}" in route]
    return [*found, *([f"network namespace {NAMESPACE}"] if exists() else [])]


def remove() -> None:
    """All of it; the routes go with the cable."""
    if succeeds(["ip", "link", "show", CABLE]):
        run(["ip", "link", "delete", CABLE])
    if exists():
        run(["ip", "netns", "delete", NAMESPACE])
