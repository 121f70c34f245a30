"""Real images, built with buildah on a Debian base that debootstrap makes once, and run by runc as a cluster would run them."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.testing.base_image import BUILDAH
from penstock.testing.base_image import base_image as make_base_image
from penstock.testing.models import mlp
from penstock.testing.programs import ProgramMissing
from penstock.testing.waiting import until

ROOT = Path(__file__).resolve().parents[3]
READY_S = 60.0
PORT = re.compile(rb'"event":"ready"[^\n]*"port":(\d+)')


@dataclass(frozen=True)
class Image:
    """A built image: its root file system as a folder, what it starts, and as whom; how it is stopped, and what it says of
    itself. `name` is the build script's."""

    name: str
    root: Path
    entrypoint: list[str]
    environment: list[str]
    user: str
    stop_signal: str
    labels: dict[str, str]

    @property
    def packages(self) -> Path:
        """The folder of Python's packages."""
        return next((self.root / "opt").glob("**/site-packages"))


class Images:
    """The images by the build script's names, each built when it is first asked for, by the script of `make images`."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._found: dict[str, Image] = {}
        self._containers: list[str] = []

    def __getitem__(self, name: str) -> Image:
        if name not in self._found:
            self._found[name] = self._build(name)
        return self._found[name]

    def close(self) -> None:
        for container in self._containers:
            buildah("rm", container)

    def _build(self, name: str) -> Image:
        command = [ROOT / "tools" / "build_images.sh", self._base, name]
        said = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
        tag = f"localhost/{said.split()[-1]}"
        self._containers.append(buildah("from", tag))
        config = json.loads(buildah("inspect", "--type", "image", tag))["OCIv1"]["config"]
        root = Path(buildah("mount", self._containers[-1]))
        said_of_it = config["StopSignal"], config["Labels"]
        return Image(name, root, config["Entrypoint"], config["Env"], config["User"], *said_of_it)


def buildah(*arguments: str) -> str:
    return subprocess.run([*BUILDAH, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    """On a base of Debian and its Python, cached outside the tree: no registry is asked."""
    try:
        found = Images(make_base_image())
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    yield found
    found.close()


class Container:
    """A container that was started; `label` says of what. `port` is known once it is ready."""

    def __init__(self, label: str, name: str, bundle: Path, log: Path) -> None:
        self.port = 0
        self._label = label
        self._name = name
        self._log = log
        self._began = time.monotonic()
        with log.open("wb") as output:
            self._process = subprocess.Popen(["runc", "run", "--bundle", bundle, name], stdout=output, stderr=subprocess.STDOUT)

    def wait_ready(self) -> "Container":
        """Until its log says that it is ready; how long that took is printed."""
        self.port = int(self.wait(lambda: PORT.search(self._log.read_bytes()))[1])
        return self

    def wait(self, ready: Callable[[], Any]) -> Any:
        """The same by another sign: what `ready` gives once it gives something."""

        def look() -> Any:
            assert self._process.poll() is None, f"{self._label} ended; its log:\n{self._log.read_text()}"
            return ready()

        found = until(look, READY_S, lambda: f"{self._label} is ready; its log:\n{self._log.read_text()}")
        print(f"the container of {self._label} was ready after {time.monotonic() - self._began:.1f} s")
        return found

    def ask(self, path: str, body: object = None) -> tuple[dict[str, Any], str | None]:
        """The document that it answers, and the bundle that the answer names."""
        data = None if body is None else orjson.dumps(body)
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return orjson.loads(answer.read()), answer.headers["Penstock-Bundle"]

    def stop(self) -> None:
        """As a kubelet does."""
        self._process.send_signal(signal.SIGTERM)
        self.end(40)

    def end(self, within_s: float = READY_S) -> None:
        """Until it has ended, and well."""
        assert self._process.wait(within_s) == 0, self._log.read_text()

    def remove(self) -> None:
        subprocess.run(["runc", "delete", "--force", self._name], capture_output=True, check=False)
        self._process.wait(timeout=20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Container]]:
    """Starts an image as a pod would: its own user, a read-only root, a small /tmp, no capabilities; the host's network.

    `folder` is mounted at /mnt/models; `python`: the image's interpreter in place of its entry point; `writable`: for what a
    test prepares inside an image.
    """
    started: list[Container] = []

    def start(image: Image, arguments: Sequence[str], folder: Path, *, python: bool = False, writable: bool = False) -> Container:
        name = f"penstock-test-{os.getpid()}-{len(started)}"
        spec = tmp_path / name
        spec.mkdir()
        command = ["python3"] if python else image.entrypoint
        (spec / "config.json").write_text(json.dumps(runtime_spec(image, [*command, *arguments], folder, writable)))
        # `worker` and its like come before all options.
        label = " ".join([image.name, *takewhile(lambda argument: not argument.startswith("-"), arguments)])
        started.append(Container(label, name, spec, tmp_path / f"{name}.log"))
        return started[-1]

    yield start
    for container in started:
        container.remove()


def runtime_spec(image: Image, command: list[str], folder: Path, writable: bool) -> dict[str, object]:
    """The OCI runtime configuration of such a container."""
    uid = int(image.user.split(":")[0])
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(image.root), "readonly": True},
        "process": {
            "user": {"uid": uid, "gid": uid},
            "args": command,
            "env": image.environment,
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=65536k"]},
            {
                "destination": "/mnt/models",
                "type": "bind",
                "source": str(folder),
                "options": ["rbind", "rw" if writable else "ro"],
            },
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder that containers may read, whoever they run as."""
    made = tmp_path / "models"
    made.mkdir()
    for path in (*made.parents, made):
        if path.is_relative_to(tmp_path.parent.parent):
            path.chmod(0o755)
    return made


@pytest.fixture
def models(folder: Path) -> Path:
    """The same with one plain model."""
    (folder / "model.onnx").write_bytes(mlp())
    return folder
