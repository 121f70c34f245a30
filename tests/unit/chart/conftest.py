"""The chart, rendered by helm for every set of values: the three that ship, those of `values/`, the previous release's."""

import subprocess
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.testing.programs import ProgramMissing, helm

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "penstock"
HERE = Path(__file__).parent
KUBERNETES = "1.34.4"
SHIPPED = {path.stem: path for path in sorted(CHART.glob("values-*.yaml"))}
OWN = {path.stem: path for path in sorted((HERE / "values").glob("*.yaml"))}
PREVIOUS = {f"release-{path.parent.name}": path for path in sorted((HERE / "releases").glob("*/values.yaml"))}
RENDERINGS: dict[str, list[Path]] = {
    "default": [],
    **{name: [path] for name, path in {**SHIPPED, **OWN, **PREVIOUS}.items()},
    # The shipped ones leave models and secrets to their user.
    **{f"{name} and everything": [path, OWN["everything"]] for name, path in SHIPPED.items()},
}

Document = dict[str, Any]


@lru_cache
def helm_or_skip() -> str:
    try:
        return helm()
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@lru_cache
def text_of(files: tuple[Path, ...]) -> str:
    """What helm renders. Fails with helm's own message."""
    options = [part for path in files for part in ("--values", str(path))]
    command = [
        helm_or_skip(),
        "template",
        "penstock",
        str(CHART),
        "--namespace",
        "penstock",
        "--kube-version",
        KUBERNETES,
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartError(done.stderr.strip())
    return done.stdout


class ChartError(Exception):
    """Helm refuses."""


def documents(text: str) -> list[Document]:
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.fixture(params=sorted(RENDERINGS))
def rendering(request: pytest.FixtureRequest) -> str:
    """The text of each rendering in turn."""
    return text_of(tuple(RENDERINGS[request.param]))


@pytest.fixture
def render() -> Callable[..., list[Document]]:
    """Renders the chart with values of the test's own, over the files named. Raises ChartError."""

    def render(values: Document | None = None, *names: str) -> list[Document]:
        files = [path for name in names for path in RENDERINGS[name]]
        if values is None:
            return documents(text_of(tuple(files)))
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(values, file)
            file.flush()
            return documents(text_of((*files, Path(file.name))))

    return render


@pytest.fixture
def chart_error() -> type[Exception]:
    return ChartError
