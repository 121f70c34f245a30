"""What is in each image and how large that is, as whom it runs, and what it says of itself."""

import re
import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[3]
# What the build script calls each image, and the member that it starts.
MEMBERS = {
    "predictor": "predictor",
    "predictor-gpu": "predictor",
    "transformer": "transformer",
    "transformer-feast": "transformer",
    "operator": "operator",
}
# Megabytes beyond the base, uncompressed: a fifth more than each has, so that what makes one grow is noticed.
MOST_MB = {"predictor": 290, "predictor-gpu": 630, "transformer": 450, "transformer-feast": 950, "operator": 155}

of_each = pytest.mark.parametrize("name", MEMBERS)
# The first test of an image builds it.
pytestmark = pytest.mark.timeout(900)


@of_each
def test_image_holds_no_compiler_and_runs_as_nobody(images: Any, name: str) -> None:
    image = images[name]
    assert image.user.split(":")[0] == "65532"
    assert not [tool for tool in ("gcc", "cc", "make", "git") if (image.root / "usr/bin" / tool).exists()]
    others = {"sklearn", "onnx", "pytest"}
    others |= {"redis", "asyncpg"} if MEMBERS[name] != "transformer" else set()
    others |= {"feast", "pandas", "pyarrow"} if name != "transformer-feast" else set()
    others |= {"onnxruntime"} if name == "operator" else {"kubernetes"}
    assert not [package for package in others if (image.packages / package).exists()]


@of_each
def test_image_is_small(images: Any, name: str) -> None:
    image = images[name]
    ours, base = size_mb(image.root / "opt/penstock"), size_mb(image.root / "usr") + size_mb(image.root / "var")
    print(f"{name} is {ours:.0f} MB, on a base of {base:.0f} MB")
    assert ours < MOST_MB[name]


def size_mb(folder: Path) -> float:
    """What the files in it hold."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


@of_each
def test_image_lists_what_is_in_it(images: Any, name: str) -> None:
    """Every installed distribution, with its version, and Debian's packages."""
    image = images[name]
    found = orjson.loads((image.root / "opt/penstock/sbom.cdx.json").read_bytes())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == f"penstock/{name.removesuffix('-feast')}"
    listed = {(each["name"], each["version"]) for each in found["components"] if each["purl"].startswith("pkg:pypi/")}
    installed = {path.name.removesuffix(".dist-info").rpartition("-") for path in image.packages.glob("*.dist-info")}
    assert {(name.lower().replace("_", "-").replace(".", "-"), version) for name, _, version in installed} <= listed
    assert any(each["purl"].startswith("pkg:deb/") and each["name"] == "libc6" for each in found["components"])


@of_each
def test_image_says_what_it_is(images: Any, name: str) -> None:
    image = images[name]
    named = "org.opencontainers.image"
    assert image.labels[f"{named}.title"] == f"penstock/{name.removesuffix('-feast')}"
    assert re.fullmatch("[0-9a-f]{7,}", image.labels[f"{named}.revision"])
    assert image.labels[f"{named}.licenses"] == "Apache-2.0"
    assert {f"{named}.version", f"{named}.description", f"{named}.base.name"} <= set(image.labels)
    assert (image.root / image.labels["dev.penstock.sbom"].lstrip("/")).is_file()
    assert image.stop_signal == "SIGTERM"
    assert image.entrypoint == [f"penstock-{MEMBERS[name]}"]


@pytest.mark.parametrize(
    "file", ["predictor/Dockerfile", "predictor/Dockerfile.gpu", "transformer/Dockerfile", "operator/Dockerfile"]
)
def test_every_program_of_an_image_is_declared(file: str) -> None:
    """The Dockerfiles start a program that their member declares."""
    member = file.partition("/")[0]
    scripts = tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]["scripts"]
    assert f"penstock-{member}" in (ROOT / file).read_text()
    assert f"penstock-{member}" in scripts
