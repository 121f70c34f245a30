"""docs/rollouts-simulated.md says of versions on the edge, and of good ones, what the promise is about."""

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from penstock_cli.rollout.simulate.interval import clopper_pearson
from penstock_cli.rollout.simulate.service import Service
from penstock_operator.model_version import Rollout

BENCH = Path(__file__).parents[3] / "bench"
MADE = {"date": "2026-01-02", "seconds": 60, "cpu_seconds": 90}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    # The modules put their folder there themselves, for good.
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])
    return import_module


def share(events: int, trials: int = 368) -> dict[str, Any]:
    return {"events": events, "trials": trials, "bounds": clopper_pearson(events, trials)}


def summary(back: dict[str, Any]) -> dict[str, Any]:
    nothing = share(0, back["trials"])
    return {
        "rolled_back": back,
        "live": nothing,
        "waiting": nothing,
        "went_on": nothing,
        "seconds_live": {"median": float("nan"), "p95": float("nan")},
    }


def test_a_version_beyond_its_margin_that_goes_on_and_waits_is_on_the_page(bench: Callable[[str], Any]) -> None:
    row = summary(share(2)) | {"waiting": share(366), "went_on": share(1)}
    part = MADE | {"runs": 368, "table": {"errors just beyond it": {"evidence": row}}}
    page = "\n".join(bench("simulate_page").page({"edge": part}))
    head, _, cells = (line for line in page.splitlines() if line.startswith("| "))
    at = head.split(" | ").index("went on from its first step, or its shadow")
    assert cells.split(" | ")[at] == "0.3 % (0-1.5)"


def test_on_the_edge_there_are_labels_just_beyond_their_margin_with_a_shadow(bench: Callable[[str], Any]) -> None:
    """On top of those in which an honest version differs."""
    versions = bench("simulate").edges()
    scenario, (_, plan, _) = versions["labels just beyond their margin", "evidence, with a shadow"]
    margin, differing = Rollout().margins.disagreement, Service().disagreement + scenario.fault.labels
    assert margin < differing < 1.05 * margin
    assert plan.rollout.shadow is not None
    assert replace(scenario.fault, labels=0.0) == type(scenario.fault)()
