"""Makes sure that the servers and programs which the integration tests start are installed. Called by `make test`,
and by others with the packages that they need.

As root on Debian it installs what is missing with apt-get and says so; anywhere else it changes nothing, and the tests that need
a missing server skip themselves with a line that names the package. Debian starts a server when it installs one: that is
prevented, since the tests start their own, on ports that the kernel chooses.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Debian package -> whether it is here already.
SERVERS = {
    "redis-server": lambda: shutil.which("redis-server"),
    "postgresql": lambda: any(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
    "buildah": lambda: shutil.which("buildah"),
    "debootstrap": lambda: shutil.which("debootstrap"),
    "runc": lambda: shutil.which("runc"),
    "wrk": lambda: shutil.which("wrk"),
    "curl": lambda: shutil.which("curl"),
    "nodejs": lambda: shutil.which("node"),
    "npm": lambda: shutil.which("npm"),
    "chromium": lambda: shutil.which("chromium"),
    "default-jre-headless": lambda: shutil.which("java"),
    "maven": lambda: shutil.which("mvn"),
    "kcat": lambda: shutil.which("kcat"),
    "iproute2": lambda: shutil.which("ip"),
    "prometheus": lambda: shutil.which("promtool"),
    "libb64-0d": lambda: any(Path("/usr/lib").glob("*/libb64.so.0d")),
}
# Only for those who ask for them by name: what the test cluster's node is made of.
CLUSTER = {
    "containerd": lambda: shutil.which("containerd"),
    "containernetworking-plugins": lambda: Path("/usr/lib/cni/bridge").exists(),
    "iptables": lambda: shutil.which("iptables"),
    "conntrack": lambda: shutil.which("conntrack"),
    "procps": lambda: shutil.which("sysctl"),
    "gcc": lambda: shutil.which("gcc"),
}


def install(packages: list[str]) -> int:
    """Run apt-get without its questions and without starting what it installs; the exit status."""
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(["apt-get", "update", "-qq"], env=environment, check=False)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode
    finally:
        if ours:
            policy.unlink()


def main() -> None:
    known = SERVERS | CLUSTER
    wanted = sys.argv[1:] or SERVERS
    missing = [package for package in wanted if not known[package]()]
    if not missing:
        return
    if sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing with apt-get: {', '.join(missing)}", flush=True)
        if install(missing) == 0:
            return
        print("apt-get failed; what needs these is skipped")
    else:
        print(f"not installed: {', '.join(missing)}; what needs them is skipped")


if __name__ == "__main__":
    main()
