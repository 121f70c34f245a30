"""Real images, built with buildah on a Debian base that debootstrap makes once, and run by runc as a cluster would run them."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.testing.base_image import BUILDAH
from penstock.testing.base_image import base_image as make_base_image
from penstock.testing.programs import ProgramMissing

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Image:
    """A built image: its root file system as a folder, what it starts, and as whom; how it is stopped, and what it says of
    itself."""

    root: Path
    entrypoint: list[str]
    environment: list[str]
    user: str
    stop_signal: str
    labels: dict[str, str]


MEMBERS = ("predictor", "transformer", "operator")


@pytest.fixture(scope="session")
def base_image() -> str:
    """A base of Debian and its Python, cached outside the tree: no registry is asked."""
    try:
        return make_base_image()
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def images(base_image: str) -> Iterator[dict[str, Image]]:
    """The CPU images by member's name, built by the same script as `make images`."""
    subprocess.run([ROOT / "tools" / "build_images.sh", base_image, *MEMBERS], check=True, cwd=ROOT)
    version = next(
        line.split('"')[1] for line in (ROOT / "core/pyproject.toml").read_text().splitlines() if line.startswith("version")
    )
    containers: list[str] = []
    found: dict[str, Image] = {}
    for member in MEMBERS:
        tag = f"localhost/penstock/{member}:{version}"
        container = buildah("from", tag)
        containers.append(container)
        config = json.loads(buildah("inspect", "--type", "image", tag))["OCIv1"]["config"]
        root = Path(buildah("mount", container))
        said = config["StopSignal"], config["Labels"]
        found[member] = Image(root, config["Entrypoint"], config["Env"], config["User"], *said)
    yield found
    for container in containers:
        buildah("rm", container)


def buildah(*arguments: str) -> str:
    return subprocess.run([*BUILDAH, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def start_container(tmp_path: Path) -> Iterator[object]:
    """Starts an image as a pod would: its own user, a read-only root, a small /tmp, no capabilities; the host's network."""
    running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(image: Image, arguments: list[str], *, models: Path, log: Path) -> subprocess.Popen[bytes]:
        name = f"penstock-test-{os.getpid()}-{len(running)}"
        spec = tmp_path / name
        spec.mkdir()
        (spec / "config.json").write_text(json.dumps(runtime_spec(image, arguments, models)))
        with log.open("wb") as output:
            process = subprocess.Popen(["runc", "run", "--bundle", spec, name], stdout=output, stderr=subprocess.STDOUT)
        running.append((name, process))
        return process

    yield start
    for name, process in running:
        subprocess.run(["runc", "delete", "--force", name], capture_output=True, check=False)
        process.wait(timeout=20)


def runtime_spec(image: Image, arguments: list[str], models: Path) -> dict[str, object]:
    """The OCI runtime configuration of such a container."""
    uid = int(image.user.split(":")[0])
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(image.root), "readonly": True},
        "process": {
            "user": {"uid": uid, "gid": uid},
            "args": [*image.entrypoint, *arguments],
            "env": image.environment,
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=65536k"]},
            {"destination": "/mnt/models", "type": "bind", "source": str(models), "options": ["rbind", "ro"]},
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]},
    }
