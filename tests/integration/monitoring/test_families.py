"""docs/monitoring.md against what the running programs expose, and that text against Prometheus' own linter."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.prometheus import PrometheusServer, promtool
from penstock.testing.waiting import until

pytestmark = pytest.mark.timeout(300)
PAGE = Path(__file__).resolve().parents[3] / "docs/monitoring.md"
COMPONENTS = ("predictor", "transformer", "worker", "relay", "sink", "log-sink", "updates", "serve", "operator")
_KINDS = {"counter": "_total", "gauge": "", "histogram": ""}


def documented() -> dict[str, tuple[set[str], str]]:
    """Name -> labels and unit, of the page's tables."""
    rows = re.findall(r"^\| `(penstock_\w+)` \| ([^|]*) \| ([^|]*) \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE)
    return {name: (set(re.findall(r"`(\w+)`", labels)), unit.strip()) for name, labels, unit in rows}


def exposed(text: str) -> Iterator[tuple[str, set[str]]]:
    """Name as Prometheus has it (a counter's with `_total`), and the labels of its samples."""
    kinds = dict(re.findall(r"^# TYPE (penstock_\w+) (\w+)$", text, re.MULTILINE))
    yield from ((name, set()) for name in kinds)
    for name, labels in re.findall(r"^(penstock_\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        yield (family if kinds.get(family) == "histogram" else name), set(re.findall(r'(\w+)="', labels)) - {"le"}


@pytest.fixture(scope="module")
def families(system: Any, prometheus: PrometheusServer) -> dict[str, set[str]]:
    until(lambda: prometheus.query("penstock_webhook_attempts_total"), 30, "webhooks")
    found: dict[str, set[str]] = {}
    for component in COMPONENTS:
        for name, labels in exposed(system.metrics(component)):
            found[name] = found.get(name, set()) | labels
    return found


def test_every_family_that_is_exposed_is_on_the_page(families: dict[str, set[str]]) -> None:
    assert set(families) - set(documented()) == set()


def test_every_family_of_the_page_is_exposed(families: dict[str, set[str]]) -> None:
    assert set(documented()) - set(families) == set()


def test_labels_are_as_the_page_has_them(families: dict[str, set[str]]) -> None:
    page = documented()
    # One without a sample at this moment has no labels to compare.
    known = {name: labels for name, labels in families.items() if labels and name in page}
    assert {name: (labels, page[name][0]) for name, labels in known.items() if labels != page[name][0]} == {}


def test_units_of_the_page_are_those_of_the_names() -> None:
    for name, (_, unit) in documented().items():
        for word in ("seconds", "bytes", "ratio"):
            assert (word in name.removesuffix("_total").split("_")[-1:]) == (unit == word), f"{name}: {unit}"


@pytest.mark.parametrize("component", COMPONENTS)
def test_promtool_has_nothing_to_say(component: str, system: Any, prometheus: PrometheusServer) -> None:
    done = promtool("check", "metrics", input=system.metrics(component))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
