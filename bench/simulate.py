"""Rollouts on made traffic, ours beside a threshold's and a rank test's: docs/rollouts-simulated.md and its plots.

    python bench/simulate.py [--runs 368] [--processes 2] [--only good,bad,power,edge] [--kind NAME] [--into FOLDER]

Every set of rules has the same requests: run k of a scenario follows from the seed k alone. The threshold is tuned on the good
rollouts of the same kind of traffic, on seeds of its own, to our own chance of a false alarm. Results stay in .bench/ as JSON:
with --only, the page is written from the new ones and those kept, and a section without either stays as it stands; with --kind,
too, of good rollouts. A few runs of it, to see that it works, belong elsewhere: `--runs 4 --into /tmp/page`.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from penstock_cli.rollout.simulate.evidence_rules import EvidenceRules, Plan
from penstock_cli.rollout.simulate.faults import Fault, read_faults
from penstock_cli.rollout.simulate.mann_whitney import Horizon, RankJudge
from penstock_cli.rollout.simulate.run import run
from penstock_cli.rollout.simulate.runs import Job, run_each
from penstock_cli.rollout.simulate.service import Service
from penstock_cli.rollout.simulate.summary import Share, Summary, summarise
from penstock_cli.rollout.simulate.threshold import Bounds, ThresholdCheck, tuned
from penstock_cli.rollout.simulate.trace import Scenario, Trace
from penstock_cli.rollout.simulate.traffic import Outages, Sticky, Traffic
from penstock_operator.model_version import Rollout, Shadow

sys.path.insert(0, str(Path(__file__).resolve().parent))
from simulate_page import page
from simulate_plot import plot_delays, plot_power

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".bench" / "simulate.json"
PAGE = ROOT / "docs" / "rollouts-simulated.md"
RUNS = 368
"""None of so many is at most 1 % of all, with 97.5 % confidence."""


@dataclass(frozen=True)
class Kind:
    """A kind of traffic and service, and the steps of the rollout on it. `shadowed`: whether it is tried with a shadow, too;
    `rank`: whether the rank test has a go at it, whose three hours are dear; `part`: what part of the runs there is time
    for, where most wait for two hours at seconds of CPU each: too few for alpha's bound, as the page says then."""

    scenario: Scenario
    steps: tuple[int, ...] = Rollout().steps
    shadowed: bool = True
    rank: bool = True
    part: float = 1.0


def _sticky(share: float, callers: int, **more: float) -> Traffic:
    return Traffic(sticky=Sticky(share, callers, **{"spells_an_hour": 0.0, **more}))


TRAFFIC = {
    "constant": Traffic(),
    "bursty": Traffic(kind="bursty"),
    "daily": Traffic(kind="daily"),
    "1 request/s": Traffic(rate=1.0),
    "one caller makes 90 %": Traffic(sticky=Sticky(share=0.9, callers=1)),
    "shared outages": Traffic(outages=Outages(an_hour=6.0)),
}
LATE, BUSY = Service(deadline_s=0.06), Service(utilisation=0.6)
KINDS = {name: Kind(Scenario(traffic)) for name, traffic in TRAFFIC.items()} | {
    "one caller makes 90 %, twice as slow": Kind(
        Scenario(Traffic(sticky=Sticky(share=0.9, callers=1, slower=2.0))), shadowed=False, rank=False
    ),
    "300 callers make half, each with its speed and answers": Kind(Scenario(_sticky(0.5, 300, spread=0.5, own=0.8)), rank=False),
    "1,000 callers make all": Kind(Scenario(_sticky(1.0, 1000)), shadowed=False, rank=False, part=0.25),
    "100 callers make all, each with its speed and answers; 2 % of them always fail": Kind(
        Scenario(_sticky(1.0, 100, spread=0.5, own=0.8, broken=0.02)), shadowed=False, rank=False
    ),
    "20 callers make all, each with its speed and answers; 5 % of them always fail": Kind(
        Scenario(_sticky(1.0, 20, spread=0.5, own=0.8, broken=0.05)), shadowed=False, rank=False
    ),
    "1,000 callers make all, 1 % errors; straight to 100 %": Kind(
        Scenario(_sticky(1.0, 1000), Service(errors=0.01)), (100,), shadowed=False, rank=False
    ),
    "2 % miss their deadline": Kind(Scenario(service=LATE), rank=False),
    "2 % miss their deadline, shared outages": Kind(
        Scenario(Traffic(outages=Outages(an_hour=6.0)), LATE), shadowed=False, rank=False
    ),
    "pods 60 % busy": Kind(Scenario(service=BUSY), rank=False),
    "pods 60 % busy; straight to 100 %": Kind(Scenario(service=BUSY), (100,), rank=False),
    "fresh pods six times as slow, fading in 5 s": Kind(Scenario(fault=Fault(cold=6.0, warm_s=5.0)), shadowed=False, rank=False),
    "fresh pods six times as slow, fading in 20 s": Kind(Scenario(fault=Fault(cold=6.0)), rank=False),
}
BAD = {
    "2 % errors": "errors=0.02",
    "every request twice as slow": "latency=2",
    "a tenth three times as slow": "latency=3:0.1",
    "scores moved by 0.3": "scores=0.3",
    "labels swapped in 30 %": "labels=0.3",
    "2 % errors, at 100 % only": "errors=0.02@100",
    "twice as slow, at 100 % only": "latency=2@100",
}
SIZES = {
    "errors": (0.0, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05),
    "latency": (1.0, 1.1, 1.25, 1.4, 1.6, 2.0, 3.0),
    "scores": (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4),
    "labels": (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2),
}
"""Of the faults whose power is shown: from none to what everybody sees."""
STEPS = Rollout()
SHADOW = Shadow(fraction=0.2)
TUNED = Bounds(interval_s=60.0, window_s=60.0, pause_s=120.0)
"""As good as such a check gets: measured every minute, over that minute, with the field's own failureLimit of 0."""
GOOD_S, POWER_S, TUNING_SEED = 7260.0, 1800.0, 1_000_000
TUNING = 400
_Key = TypeVar("_Key", bound=tuple[Any, ...])
Asked = tuple[Any, Any, float]
"""Rules, their settings, seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="good rollouts of each kind, and versions on the edge")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="good,bad,power,edge", help="parts, comma-separated")
    parser.add_argument(
        "--kind", action="append", metavar="NAME", choices=list(KINDS), help="of good rollouts these alone; the other rows stay"
    )
    parser.add_argument("--into", type=Path, default=PAGE.parent, help="where the page and its plots go")
    given = parser.parse_args()
    parts = {"good": partial(good, kinds=given.kind or list(KINDS)), "bad": bad, "power": power, "edge": edge}
    results = RESULTS if given.into == PAGE.parent else given.into / "simulate.json"
    results.parent.mkdir(exist_ok=True, parents=True)
    before = json.loads(results.read_text()) if given.kind and results.exists() else {}
    for name in given.only.split(","):
        began, cpu_s = time.monotonic(), _cpu_s()
        print(f"\n{name}", flush=True)
        # Kept as far as it has come: a part takes minutes.
        for part in parts[name](given.runs, given.processes):
            kept = json.loads(results.read_text()) if results.exists() else {}
            spent = {"seconds": round(time.monotonic() - began), "cpu_seconds": round(_cpu_s() - cpu_s)}
            today = {"date": datetime.now(UTC).date().isoformat()}
            found = merged(before.get(name, {}) if name == "good" else {}, part | spent | today)
            results.write_text(json.dumps(kept | {name: found}, indent=1))
        print(f"  {_cpu_s() - cpu_s:.0f} s of CPU, {time.monotonic() - began:.0f} s", flush=True)
    kept = json.loads(results.read_text())
    written = given.into / PAGE.name
    standing = written.read_text() if written.exists() else ""
    written.write_text("\n".join(page(kept, standing)) + "\n")
    if "power" in kept:
        plot_power(kept["power"], written.with_name("rollouts-power.png"))
    if "bad" in kept:
        plot_delays(kept["bad"], written.with_name("rollouts-delays.png"))
    print(f"\nwrote {written}")


def merged(kept: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of some kinds' rows put among all that were kept: the time is of both, the number of runs that of most kinds."""
    if not kept:
        return dict(part)
    spent = {name: kept[name] + part[name] for name in ("seconds", "cpu_seconds")}
    # What is not yet run anew stays.
    rows = {name: kept["table"].get(name, {}) | row for name, row in part["table"].items()}
    return {**part, "runs": kept["runs"], "table": kept["table"] | rows, **spent}


def rules(kind: Kind, bounds: Bounds) -> dict[str, Asked]:
    """Name, settings and seconds of every set of rules for a kind of traffic; ours looks as often as the operator does."""
    ours: dict[str, Asked] = {"evidence": (EvidenceRules, Plan(Rollout(steps=kind.steps)), GOOD_S)}
    if kind.shadowed:
        ours["evidence, with a shadow"] = (EvidenceRules, Plan(Rollout(steps=kind.steps, shadow=SHADOW)), GOOD_S)
    rivals: dict[str, Asked] = {
        "threshold, tuned": (ThresholdCheck, bounds, 3600.0),
        "threshold, Argo's example": (ThresholdCheck, Bounds(), 3600.0),
    }
    if kind.rank:
        rivals["Mann-Whitney, Kayenta's"] = (RankJudge, Horizon(), 10800.0)
    return ours | rivals


@cache
def tune(scenario: Scenario) -> Bounds:
    """The threshold that good rollouts of this traffic trip with the chance that ours have, at most."""
    worst = []
    for seed in range(TUNING_SEED, TUNING_SEED + TUNING):
        check = ThresholdCheck(replace(TUNED, success_rate=-1.0))
        # Until it is live; it looks at nothing after that.
        run(Trace(scenario, TUNED.pause_s * len(TUNED.steps) + 60.0, seed), check)
        worst.append(check.highest)
    return tuned(TUNED, worst, STEPS.alpha)


def good(runs: int, processes: int, kinds: Sequence[str]) -> Iterator[dict[str, Any]]:
    """False roll-backs, and how long a good version takes, by traffic."""
    found: dict[str, Any] = {"runs": runs, "tuning": TUNING, "table": {name: {} for name in KINDS if name in kinds}}
    steady = (ThresholdCheck, tune(KINDS["constant"].scenario), 3600.0)
    # Set of rules by set of rules, ours first: what is kept half-way says something of every kind of traffic.
    for who in rules(KINDS["constant"], TUNED):
        asked: dict[tuple[str, str], tuple[Scenario, Asked]] = {}
        for name in found["table"]:
            kind = KINDS[name]
            given = rules(kind, tune(kind.scenario) if who == "threshold, tuned" else TUNED)
            if who in given:
                asked[name, who] = kind.scenario, given[who]
            if who == "threshold, tuned" and name in TRAFFIC and name != "constant":
                # What becomes of the same bounds where traffic is not what they were made for.
                asked[name, "threshold, tuned on constant traffic"] = kind.scenario, steady
        parts = {name: kind.part for name, kind in KINDS.items()}
        for (name, rule), one in _all(asked, runs, processes, parts):
            found["table"][name][rule] = one
            _say(name, rule, one)
            yield found


def bad(runs: int, processes: int) -> Iterator[dict[str, Any]]:
    """How often and how soon a fault is rolled back, at 200 requests a second."""
    count = _half(runs)
    found: dict[str, Any] = {"runs": count, "table": {name: {} for name in BAD}}
    constant = KINDS["constant"]
    given = rules(constant, tune(constant.scenario))
    asked = {
        (name, who): (Scenario(constant.scenario.traffic, fault=read_faults([fault])), one)
        for name, fault in BAD.items()
        for who, one in given.items()
    }
    for (name, who), one in _all(asked, count, processes):
        found["table"][name][who] = one
        _say(name, who, one)
    yield found


def power(runs: int, processes: int) -> Iterator[dict[str, Any]]:
    """Share of rollouts that are rolled back, by size of the fault; within half an hour for ours."""
    count = _half(runs)
    found: dict[str, Any] = {"runs": count} | {kind: [{"size": size, "rules": {}} for size in SIZES[kind]] for kind in SIZES}
    asked = {
        (kind, place, who): (Scenario(fault=Fault(**{kind: size})), one)
        for kind, sizes in SIZES.items()
        for place, size in enumerate(sizes)
        for who, one in _seeing(kind).items()
    }
    for (kind, place, who), one in _all(asked, count, processes):
        found[kind][place]["rules"][who] = one
        _say(f"{kind} {SIZES[kind][place]:g}", who, one)
    yield found


def _seeing(kind: str) -> dict[str, Asked]:
    """The rules that look at what is wrong: of answers ours alone do, of one request's two labels ours with a shadow."""
    if kind == "labels":
        return {"evidence, with a shadow": (EvidenceRules, Plan(Rollout(shadow=SHADOW)), POWER_S)}
    ours: dict[str, Asked] = {"evidence": (EvidenceRules, Plan(STEPS), POWER_S)}
    if kind == "scores":
        return ours
    constant = KINDS["constant"]
    return rules(replace(constant, shadowed=False), tune(constant.scenario)) | ours


def edge(runs: int, processes: int) -> Iterator[dict[str, Any]]:
    """Versions on the margin: rolled back with alpha at most, and beyond it: gone on with alpha at most."""
    found: dict[str, Any] = {"runs": runs, "table": {}}
    for (name, who), one in _all(edges(), runs, processes):
        found["table"][name] = {who: one}
        _say(name, who, one)
    yield found


def edges() -> dict[tuple[str, str], tuple[Scenario, Asked]]:
    """Name and rules of each version on the edge, with what makes it so; of labels ours know with a shadow alone."""
    margins = STEPS.margins
    faults = {
        "errors at the margin": Fault(errors=margins.error_rate),
        "errors just beyond it": Fault(errors=margins.error_rate * 1.1),
        "latency just beyond its margin": Fault(latency=margins.latency_p99 * 1.05),
        "outputs just beyond their margin": Fault(scores=margins.output_drift),
    }
    given: Asked = (EvidenceRules, Plan(STEPS), GOOD_S)
    shadowed: Asked = (EvidenceRules, Plan(Rollout(shadow=SHADOW)), GOOD_S)
    # An honest version's other labels count, too.
    labels = Fault(labels=margins.disagreement * 1.02 - Service().disagreement)
    return {(name, "evidence"): (Scenario(fault=fault), given) for name, fault in faults.items()} | {
        ("labels just beyond their margin", "evidence, with a shadow"): (Scenario(fault=labels), shadowed)
    }


def _half(runs: int) -> int:
    return max(runs * 200 // RUNS, 2)


def _count(who: str, make: Any, runs: int) -> int:
    """Half as many of what nothing is promised of, and few of the costliest, whose figures leave the least doubt."""
    if make is RankJudge:
        return max(runs // 8, 2)
    return max(runs, 2) if who.startswith("evidence") else max(runs // 2, 2)


def _all(
    asked: Mapping[_Key, tuple[Scenario, Asked]], runs: int, processes: int, parts: Mapping[str, float] | None = None
) -> Iterator[tuple[_Key, dict[str, Any]]]:
    """A summary of each, all from one pool of processes. Their keys begin with a name and end with that of the rules."""
    jobs = [
        Job(scenario, make, settings, seconds, _count(who, make, round(runs * (parts or {}).get(name, 1.0))))
        for (name, *_, who), (scenario, (make, settings, seconds)) in asked.items()
    ]
    for key, results in zip(asked, run_each(jobs, processes), strict=True):
        yield key, _plain(summarise(results))


def _cpu_s() -> float:
    """Of this process and of those that it has waited for."""
    return sum(
        used.ru_utime + used.ru_stime for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _plain(summary: Summary) -> dict[str, Any]:
    found = asdict(summary)
    for name in ("live", "rolled_back", "waiting", "in_shadow", "went_on"):
        share: Share = getattr(summary, name)
        found[name]["bounds"] = share.bounds
    return found


def _say(name: str, who: str, one: dict[str, Any]) -> None:
    print(f"  {name:54} {who:28} {'  '.join(_said(one['rolled_back'], one['live'], one))}", flush=True)


def _said(back: dict[str, Any], live: dict[str, Any], one: dict[str, Any]) -> Iterator[str]:
    yield f"rolled back {back['events']}/{back['trials']} (at most {100 * back['bounds'][1]:.2g} %)"
    yield f"in {one['seconds_back']['median']:.0f}, {one['seconds_back']['p95']:.0f} s"
    yield f"live {live['events']} in {one['seconds_live']['median']:.0f}, {one['seconds_live']['p95']:.0f} s"
    yield f"hurt {one['hurt']['median']:.0f}  {one['metrics']}"


if __name__ == "__main__":
    main()
