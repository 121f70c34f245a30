"""The CPU images as a cluster runs them: another user, a read-only root, no capabilities, SIGTERM at the end."""

import re
import signal
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from penstock.testing.models import mlp

Start = Callable[..., subprocess.Popen[bytes]]
MEMBERS = ["predictor", "transformer", "operator"]
PORT = re.compile(rb'"event":"ready"[^\n]*"port":(\d+)')


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with one plain model, readable by any user."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(mlp())
    for path in (*folder.parents, folder):
        if path.is_relative_to(tmp_path.parent.parent):
            path.chmod(0o755)
    return folder


def wait_ready(log: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that a container listens on, once its log says it is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = PORT.search(log.read_bytes())
        if found:
            return int(found[1])
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"not ready; its log:\n{log.read_text()}")


def ask(port: int, path: str, body: object = None) -> tuple[dict[str, object], str | None]:
    data = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return orjson.loads(answer.read()), answer.headers["Penstock-Bundle"]


def stop(process: subprocess.Popen[bytes], log: Path) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=40) == 0, log.read_text()


@pytest.mark.timeout(900)
def test_predictor_and_transformer_images_serve_together(
    images: dict, start_container: Start, models: Path, tmp_path: Path
) -> None:  # type: ignore[type-arg]
    log = tmp_path / "predictor.log"
    arguments = [
        "--model_name",
        "m",
        "--model_dir",
        "/mnt/models",
        "--host",
        "127.0.0.1",
        "--http_port",
        "0",
        "--grpc_port",
        "0",
        "--admin_port",
        "-1",
    ]
    began = time.monotonic()
    predictor = start_container(images["predictor"], arguments, models=models, log=log)
    port = wait_ready(log, predictor)
    print(f"the predictor's container was ready after {time.monotonic() - began:.1f} s")
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 32], "data": [0.5] * 64}
    answer, bundle = ask(port, "/v2/models/m/infer", {"inputs": [tensor]})
    assert answer["outputs"][0]["shape"][0] == 2  # type: ignore[index]
    assert bundle is not None
    assert bundle.startswith("m@sha256:")

    log_before = tmp_path / "transformer.log"
    arguments = [
        "--model_name",
        "m",
        "--predictor_host",
        f"127.0.0.1:{port}",
        "--host",
        "127.0.0.1",
        "--http_port",
        "0",
        "--grpc_port",
        "0",
        "--admin_port",
        "-1",
    ]
    began = time.monotonic()
    transformer = start_container(images["transformer"], arguments, models=models, log=log_before)
    front = wait_ready(log_before, transformer)
    print(f"the transformer's container was ready after {time.monotonic() - began:.1f} s")
    through, same = ask(front, "/v2/models/m/infer", {"inputs": [tensor]})
    assert through["outputs"] == answer["outputs"]
    assert same == bundle
    stop(transformer, log_before)
    stop(predictor, log)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("member", MEMBERS)
def test_image_holds_no_compiler_and_runs_as_nobody(images: dict, member: str) -> None:  # type: ignore[type-arg]
    image = images[member]
    assert image.user.split(":")[0] == "65532"
    assert not [tool for tool in ("gcc", "cc", "make", "git") if (image.root / "usr/bin" / tool).exists()]
    site = next((image.root / "opt").glob("**/site-packages"))
    others = {"feast", "pandas", "sklearn", "onnx", "pytest"} | ({"redis", "asyncpg"} if member != "transformer" else set())
    others |= {"onnxruntime"} if member == "operator" else {"kubernetes"}
    assert not [name for name in others if (site / name).exists()]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("member", MEMBERS)
def test_image_lists_what_is_in_it(images: dict, member: str) -> None:  # type: ignore[type-arg]
    """Every installed distribution, with its version, and Debian's packages."""
    image = images[member]
    found = orjson.loads((image.root / "opt/penstock/sbom.cdx.json").read_bytes())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == f"penstock/{member}"
    listed = {(each["name"], each["version"]) for each in found["components"] if each["purl"].startswith("pkg:pypi/")}
    site = next((image.root / "opt").glob("**/site-packages"))
    installed = {path.name.removesuffix(".dist-info").rpartition("-") for path in site.glob("*.dist-info")}
    assert {(name.lower().replace("_", "-").replace(".", "-"), version) for name, _, version in installed} <= listed
    assert any(each["purl"].startswith("pkg:deb/") and each["name"] == "libc6" for each in found["components"])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("member", MEMBERS)
def test_image_says_what_it_is(images: dict, member: str) -> None:  # type: ignore[type-arg]
    image = images[member]
    named = "org.opencontainers.image"
    assert image.labels[f"{named}.title"] == f"penstock/{member}"
    assert re.fullmatch("[0-9a-f]{7,}", image.labels[f"{named}.revision"])
    assert image.labels[f"{named}.licenses"] == "Apache-2.0"
    assert {f"{named}.version", f"{named}.description", f"{named}.base.name"} <= set(image.labels)
    assert (image.root / image.labels["dev.penstock.sbom"].lstrip("/")).is_file()
    assert image.stop_signal == "SIGTERM"
    assert image.entrypoint == [f"penstock-{member}"]


def test_every_program_of_an_image_is_declared() -> None:
    """The Dockerfiles start a program that their member declares."""
    root = Path(__file__).resolve().parents[3]
    for member in ("predictor", "transformer", "operator"):
        scripts = tomllib.loads((root / member / "pyproject.toml").read_text())["project"]["scripts"]
        assert f"penstock-{member}" in (root / member / "Dockerfile").read_text()
        assert f"penstock-{member}" in scripts
