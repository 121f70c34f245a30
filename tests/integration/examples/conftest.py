"""Examples run as their READMEs are written: each `sh` block is executed in order, `penstock serve` in the background.

The tree is copied first, so that a test never writes into the repository. Only the port differs from what is written: the kernel
picks it.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY_DEADLINE_S = 90.0
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A fenced block of a README: `sh` is commands, `json` the output that the block before it is said to have, others files."""

    language: str
    text: str


def blocks_of(readme: Path) -> list[Shown]:
    return [Shown(language, text) for language, text in BLOCK.findall(readme.read_text())]


@dataclass(slots=True)
class Reader:
    """Somebody who follows a README to the letter in a fresh copy of the repository."""

    folder: Path
    port: int
    servers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        programs = str(Path(sys.executable).parent)
        return kept | {
            "PATH": f"{programs}:{kept['PATH']}",
            "PENSTOCK_SERVE_HTTP_PORT": str(self.port),
            "PENSTOCK_SERVE_ADMIN_PORT": "0",
            "PENSTOCK_SERVE_GRPC_PORT": "0",
            "CURL_HOME": str(self.folder),
        }

    def write(self, path: str, text: str) -> None:
        """A block whose first line is the name of a file, as a comment, is that file."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def run(self, commands: str) -> str:
        """The commands' standard output; fails the test with all they said if one of them fails."""
        commands = commands.replace(":8080", f":{self.port}")
        if re.match(r"penstock serve ", commands):
            self.serve(commands)
            return ""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def serve(self, command: str) -> None:
        log = (self.folder / "serve.log").open("wb")
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.servers.append(server)
        deadline = time.monotonic() + READY_DEADLINE_S
        while time.monotonic() < deadline and server.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/health/ready", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        pytest.fail(f"{command}\n{(self.folder / 'serve.log').read_text()}")

    def close(self) -> None:
        for server in self.servers:
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@dataclass(frozen=True, slots=True)
class FirstRun:
    """`make run`'s script in a fresh copy of the examples, with the ports taken that it would like; `text` is what it printed."""

    folder: Path
    port: int
    text: str

    def give(self, folder: Path) -> None:
        """Another copy of the examples gets the store and the bundle that were made here: making them takes half a minute."""
        shutil.copytree(self.folder / ".run", folder / ".run")


def run_once(folder: Path, port: int) -> str:
    """What the script prints when it is to end by itself."""
    script = [sys.executable, folder / "examples/flights/run.py", "--once", "--port", str(port)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    folder = tmp_path_factory.mktemp("first")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    with socket.socket() as taken, socket.socket() as taken_grpc:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with contextlib.suppress(OSError):  # then somebody else holds it, which does as well
            taken_grpc.bind(("127.0.0.1", 8081))
            taken_grpc.listen()
        return FirstRun(folder, port, run_once(folder, port))


@pytest.fixture
def run_again(first_run: FirstRun) -> str:
    """What the script prints the second time."""
    return run_once(first_run.folder, first_run.port)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    # An answer with an error status fails the command, which curl by itself does not.
    (tmp_path / ".curlrc").write_text("fail-with-body\nshow-error\n")
    reader = Reader(tmp_path, port)
    yield reader
    reader.close()


@pytest.fixture
def follow(reader: Reader) -> Callable[[str], list[tuple[str, str]]]:
    """Run every `sh` block of a README below the root; pairs of a shown `json` block and what really came out before it."""

    def follow_readme(readme: str) -> list[tuple[str, str]]:
        pairs, output = [], ""
        for block in blocks_of(reader.folder / readme):
            if block.language == "sh":
                output = reader.run(block.text)
            elif block.language == "json":
                pairs.append((block.text, output))
            elif named := re.match(r"# (\S+/\S+)\n", block.text):
                reader.write(named[1], block.text)
        return pairs

    return follow_readme


def compare(shown: Any, real: Any, path: str = "") -> None:
    """What a README shows is what came out, but for digests, for ages (they depend on today) and for a float's last digits:
    a model that is trained on another processor is another model by a hair."""
    if isinstance(shown, dict) and isinstance(real, dict):
        assert list(shown) == list(real), path
        for name in shown:
            if name != "ages_s":
                compare(shown[name], real[name], f"{path}.{name}")
    elif isinstance(shown, list) and isinstance(real, list):
        assert len(shown) == len(real), path
        for index, (one, other) in enumerate(zip(shown, real, strict=True)):
            compare(one, other, f"{path}[{index}]")
    elif isinstance(shown, float) and isinstance(real, float):
        assert shown == pytest.approx(real, rel=2e-2, abs=1e-4), path
    elif isinstance(shown, str) and isinstance(real, str):
        assert DIGEST.sub("sha256:…", shown).replace("sha256:…", "") == DIGEST.sub("", real), path
    else:
        assert shown == real, path


@pytest.fixture(name="alike")
def _alike() -> Callable[[Any, Any], None]:
    return compare
