"""The bed's commands: `PYTHONPATH=tests/cluster python -m bed COMMAND`; make's targets call them.

up       build what is missing, start our own cluster, install KServe        down      end it, leaving only what was built
build    only build; `programs` without the images                           chart     install our chart, with images built now
status   which daemons run                                                   example   chart and flights example
check    why this machine can start none, if it cannot               api-server   build etcd and the API server alone
kind-up, kind-down   the same with kind
"""

import sys
import time
from collections.abc import Callable

from bed import builder, chart, daemons, example, images, kind, kserve, machine, own
from bed.cluster import chosen
from bed.places import KUBECONFIG, PROGRAMS
from bed.trouble import BedError


def build() -> None:
    """Programs and the cluster's own images."""
    builder.build_programs()
    for tag in (images.PAUSE, images.CONTROLLER, images.STORAGE, images.REDIS):
        images.build(tag)


def up() -> None:
    """A cluster with KServe."""
    own.up()
    _say("the cluster is up")
    kserve.install(chosen())
    _say("KServe is installed")
    print(f"export KUBECONFIG={KUBECONFIG} PATH={PROGRAMS}:$PATH")


def install_chart() -> None:
    """Our images and our chart."""
    cluster = chosen()
    for tag in images.build_own().values():
        cluster.load(tag)
    _say("the images are loaded")
    chart.install(cluster)
    _say("the chart is installed")


def install_example() -> None:
    """Our chart and the flights example."""
    cluster = chosen()
    example.install(cluster)
    _say("the chart and the flights example are installed")
    print(f"export KUBECONFIG={cluster.kubeconfig} PATH={PROGRAMS}:$PATH")


def check() -> None:
    """Raises BedError with the reason why this machine cannot."""
    if reason := machine.why_not():
        raise BedError(reason)


def status() -> None:
    """A line a daemon."""
    for name in own.DAEMONS:
        print(f"{name:12} {'runs' if daemons.alive(name) else 'does not run'}")


COMMANDS: dict[str, Callable[[], None]] = {
    "build": build,
    "check": check,
    "programs": builder.build_programs,
    "api-server": builder.build_api_server,
    "up": up,
    "down": own.down,
    "status": status,
    "chart": install_chart,
    "example": install_example,
    "kind-up": kind.up,
    "kind-down": kind.down,
}
_STARTED = time.monotonic()


def _say(text: str) -> None:
    print(f"[{time.monotonic() - _STARTED:5.1f} s] {text}", flush=True)


def main() -> int:
    """Run one command; its exit status."""
    command = COMMANDS.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if command is None:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        command()
    except BedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
