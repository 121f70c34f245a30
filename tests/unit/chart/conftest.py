"""The chart, rendered by helm for every set of values: the three that ship, those of `values/`, the previous release's."""

import subprocess
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
def text_of(files: tuple[Path, ...], values: str = "", apis: tuple[str, ...] = ()) -> str:
    """What helm renders with these files, and `values` (YAML) over them, for a cluster that has `apis` beside what it takes for
    granted; each once a session, since it takes helm a while."""
    options = [part for path in files for part in ("--values", str(path))]
    options += [part for api in apis for part in ("--api-versions", api)]
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
    done = subprocess.run([*command, "--values", "-"], input=values, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartError(done.stderr.strip())
    return done.stdout


class ChartError(Exception):
    """Helm refuses."""


@lru_cache
def documents(text: str) -> tuple[Document, ...]:
    """Read once, by libyaml, which is ten times as quick; not to be changed."""
    return tuple(document for document in yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if document)


@pytest.fixture(params=sorted(RENDERINGS))
def rendering(request: pytest.FixtureRequest) -> str:
    """The text of each rendering in turn."""
    return text_of(tuple(RENDERINGS[request.param]))


@pytest.fixture
def rendered(rendering: str) -> tuple[Document, ...]:
    """The documents of each rendering in turn."""
    return documents(rendering)


@pytest.fixture
def render() -> Callable[..., tuple[Document, ...]]:
    """Renders the chart with values of the test's own, over the files named, for a cluster with some APIs. Raises ChartError."""

    def render(values: Document | None = None, *names: str, apis: tuple[str, ...] = ()) -> tuple[Document, ...]:
        files = tuple(path for name in names for path in RENDERINGS[name])
        return documents(text_of(files, yaml.safe_dump(values) if values else "", apis))

    return render


@pytest.fixture
def chart_error() -> type[Exception]:
    return ChartError
