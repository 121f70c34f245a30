"""Where this process's cgroups are: for each controller the folders whose limits apply to it.

Sources: Linux `Documentation/admin-guide/cgroup-v2.rst`, `Documentation/admin-guide/cgroup-v1/cgroups.rst`.
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc/self/cgroup")


def levels(controller: str, root: Path = ROOT, proc: Path = PROC) -> Iterator[Path]:
    """Every folder whose limits of `controller` may apply: each level of the process's own group, up to the root that it can
    see. Not all of them exist."""
    for controllers, group in _groups(proc):
        if not controllers:
            bases = [root, root / "unified"]
        elif controller in controllers.split(","):
            bases = [root / controller, root / controllers]
        else:
            continue
        for base in bases:
            # In a container the group's path is that of the host, the mount shows the container's own group as its root:
            # levels that do not exist here are skipped, the root always counts.
            level = base
            yield level
            for part in Path(group.lstrip("/")).parts:
                level /= part
                yield level


def _groups(proc: Path) -> Iterator[tuple[str, str]]:
    """(controllers, path) of each hierarchy in /proc/self/cgroup; controllers is empty for v2."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        lines = []
    yield from (tuple(line.split(":", 2)[1:]) for line in lines if line.count(":") >= 2)  # type: ignore[misc]
    if not lines:
        yield ("", "/")
