"""A network of its own for some processes, whose one way out can be cut: packets vanish both ways, and nobody is told.

    with PrivateNetwork() as network: server.host = network.host; ServerProcess(…, prefix=network.prefix)
    network.cut() … network.mend()      connections stay; what was on its way is sent again, and arrives late

Linux alone, and root: a network namespace, joined to this machine's by a pair of virtual devices, and a filter in it.
"""

import os
import shutil
import subprocess
from typing import Self

from penstock.testing.servers import ServerMissing

_PROGRAMS = {"ip": "iproute2", "iptables": "iptables"}


class PrivateNetwork:
    """`host` is this machine as the network sees it: a server that listens there can be reached from both."""

    def __init__(self) -> None:
        for program, package in _PROGRAMS.items():
            if shutil.which(program) is None:
                raise ServerMissing(f"{program} is missing: apt-get install {package}")
        if os.geteuid():
            raise ServerMissing("a network namespace needs root")
        number = os.getpid() % 16_000
        self._name, self._outer, self._inner = f"penstock-{number}", f"psto{number}", f"psti{number}"
        net = f"10.231.{number // 64}.{number % 64 * 4}".rpartition(".")
        self.host, self._guest = f"{net[0]}.{int(net[2]) + 1}", f"{net[0]}.{int(net[2]) + 2}"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that shall run in it."""
        return "ip", "netns", "exec", self._name

    def cut(self) -> None:
        """Nothing gets in or out from now on."""
        self._filter("-I")

    def mend(self) -> None:
        """Everything does again."""
        self._filter("-D")

    def _filter(self, what: str) -> None:
        for chain, device in (("INPUT", "-i"), ("OUTPUT", "-o")):
            _run(*self.prefix, "iptables", what, chain, device, self._inner, "-j", "DROP")

    def __enter__(self) -> Self:
        try:
            _run("ip", "netns", "add", self._name)
            _run("ip", "link", "add", self._outer, "type", "veth", "peer", "name", self._inner, "netns", self._name)
            _run("ip", "addr", "add", f"{self.host}/30", "dev", self._outer)
            _run("ip", "link", "set", self._outer, "up")
            _run(*self.prefix, "ip", "addr", "add", f"{self._guest}/30", "dev", self._inner)
            for device in (self._inner, "lo"):
                _run(*self.prefix, "ip", "link", "set", device, "up")
            self.cut()
            self.mend()
        except RuntimeError as refused:
            self.__exit__()
            raise ServerMissing(f"network namespaces cannot be made here: {refused}") from refused
        return self

    def __exit__(self, *_: object) -> None:
        # The devices go with it.
        subprocess.run(["ip", "netns", "del", self._name], check=False, capture_output=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[:200]}")
