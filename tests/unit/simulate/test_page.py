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


def good_part(**found: dict[str, Any]) -> dict[str, Any]:
    table = {name: {"evidence": summary(back)} for name, back in found.items()}
    return MADE | {"runs": 368, "tuning": 400, "table": table}


def test_kinds_with_too_few_runs_for_the_promise_are_named(bench: Callable[[str], Any]) -> None:
    part = good_part(plenty=share(0), few=share(0, 92), unlucky=share(2), harmed=share(30))
    said = [line for line in bench("simulate_page").page({"good": part}) if line.startswith("Too few")]
    assert said == [
        'Too few runs to show that evidence takes back no more than alpha allows: 0 % (0-3.9) of 92 on "few";'
        ' 0.5 % (0.1-1.9) of 368 on "unlucky".\n'
    ]
    assert "Too few" not in "".join(bench("simulate_page").page({"good": good_part(plenty=share(0))}))


def test_a_part_that_is_not_run_keeps_its_section_of_the_page(bench: Callable[[str], Any]) -> None:
    part = MADE | {"runs": 368, "table": {"errors just beyond it": {"evidence": summary(share(2))}}}
    before = {"good": good_part(plenty=share(0)), "edge": part}
    page = bench("simulate_page").page
    standing = "\n".join(page(before)) + "\n"
    assert "\n".join(page(before, standing)) + "\n" == "\n".join(page({}, standing)) + "\n" == standing
    anew = "\n".join(page({"edge": part | {"runs": 92}}, standing)) + "\n"
    assert anew == standing.replace("368 rollouts of each", "92 rollouts of each")


def test_kinds_that_are_run_anew_take_their_rows_among_those_kept(bench: Callable[[str], Any]) -> None:
    kept, anew = good_part(first=share(0), second=share(0, 92), third=share(0)), good_part(second=share(1)) | {"runs": 1472}
    found = bench("simulate").merged(kept, anew | {"date": "2026-01-03"})
    assert list(found["table"]) == ["first", "second", "third"]
    assert found["table"]["second"]["evidence"]["rolled_back"] == share(1)
    assert (found["runs"], found["seconds"], found["cpu_seconds"], found["date"]) == (368, 120, 180, "2026-01-03")
    assert bench("simulate").merged({}, anew) == anew
    begun = bench("simulate").merged(kept, anew | {"table": {"second": {}}})
    assert begun["table"] == kept["table"]


def test_good_versions_run_often_enough_for_the_promise_but_on_the_costliest_traffic(bench: Callable[[str], Any]) -> None:
    simulate = bench("simulate")
    assert clopper_pearson(0, simulate.RUNS)[1] <= Rollout().alpha
    assert [name for name, kind in simulate.KINDS.items() if kind.part < 1] == ["1,000 callers make all"]
