"""What the cluster does to the host outside its own folder and network, noted before `up` and undone by `down`.

The kubelet sets some of the kernel's parameters for the whole machine, makes cgroups, and links the pods' logs in /var/log;
containerd's shims and CNI leave small files under /run and /var/lib.
"""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from bed.places import RUN

_PARAMETERS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys",
               "kernel/keys/root_maxbytes")  # fmt: skip
_NOTE = RUN / "host.json"
_CGROUPS = Path("/sys/fs/cgroup")
_LINKS = Path("/var/log/containers")
_FOLDERS = ("/var/log/containers", "/var/lib/cni/results", "/var/lib/cni", "/run/containerd/s", "/run/containerd", "/opt/cni/bin")


def remember() -> None:
    """Note the kernel's parameters, and which folders are there."""
    RUN.mkdir(parents=True, exist_ok=True)
    parameters = {
        name: (Path("/proc/sys") / name).read_text().strip() for name in _PARAMETERS if (Path("/proc/sys") / name).exists()
    }
    folders = [folder for folder in _FOLDERS if Path(folder).exists()]
    _NOTE.write_text(
        json.dumps({"parameters": parameters, "folders": folders, "cgroups": [str(path) for path in _pod_cgroups()]})
    )


def restore() -> None:
    """Undo what the cluster did; without a note, only what is surely its own."""
    note: dict[str, Any] = {"parameters": {}, "folders": _FOLDERS, "cgroups": []}
    if _NOTE.exists():
        note = json.loads(_NOTE.read_text())
    for name, value in note["parameters"].items():
        with suppress(OSError):
            (Path("/proc/sys") / name).write_text(value)
    for group in _pod_cgroups():
        if str(group) not in note["cgroups"]:
            _remove_cgroup(group)
    for link in _LINKS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(str(RUN)):
            link.unlink()
    for kept in Path("/var/lib/cni/results").glob("penstock-bed-*"):
        kept.unlink()
    for folder in _FOLDERS:
        if folder not in note["folders"]:
            shutil.rmtree(folder, ignore_errors=True)


def left_behind() -> list[str]:
    """The kubelet's cgroups that are there and were not before `up`; only while the note is there."""
    known = json.loads(_NOTE.read_text())["cgroups"] if _NOTE.exists() else []
    return [f"cgroup {group}" for group in _pod_cgroups() if str(group) not in known]


def _pod_cgroups() -> list[Path]:
    """The kubelet's cgroups, on cgroup v1 one a controller."""
    return [path for path in (_CGROUPS / "kubepods", *_CGROUPS.glob("*/kubepods")) if path.exists()]


def _remove_cgroup(group: Path) -> None:
    for inner in sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)):
        with suppress(OSError):
            inner.rmdir()
    # Somebody's process is in it: then it is not ours to remove.
    with suppress(OSError):
        group.rmdir()
