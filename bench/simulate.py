"""Rollouts on made traffic, ours beside a threshold's and a rank test's: docs/rollouts-simulated.md and its plots.

    python bench/simulate.py [--runs 400] [--processes 2] [--only good,bad,power,edge]

Every set of rules has the same requests: run k of a scenario follows from the seed k alone. The threshold is tuned on the good
rollouts of the same kind of traffic, on seeds of its own, to our own chance of a false alarm. Results stay in .bench/ as JSON:
with --only, the page is written from the new ones and those kept.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock_cli.rollout.simulate.evidence_rules import EvidenceRules, Plan
from penstock_cli.rollout.simulate.faults import Fault, read_faults
from penstock_cli.rollout.simulate.mann_whitney import Horizon, RankJudge
from penstock_cli.rollout.simulate.run import run
from penstock_cli.rollout.simulate.runs import Job, run_all
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

TRAFFIC = {
    "constant": Traffic(),
    "bursty": Traffic(kind="bursty"),
    "daily": Traffic(kind="daily"),
    "1 request/s": Traffic(rate=1.0),
    "one caller makes 90 %": Traffic(sticky=Sticky(share=0.9, callers=1)),
    "shared outages": Traffic(outages=Outages(an_hour=6.0)),
}
BAD = {
    "2 % errors": "errors=0.02",
    "every request twice as slow": "latency=2",
    "a tenth three times as slow": "latency=3:0.1",
    "scores moved by 0.3": "scores=0.3",
    "labels swapped in 30 %": "labels=0.3",
    "2 % errors, at 100 % only": "errors=0.02@100",
}
SIZES = (0.0, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05)
FACTORS = (1.0, 1.1, 1.25, 1.4, 1.6, 2.0, 3.0)
STEPS = Rollout()
WITH_SHADOW = Rollout(shadow=Shadow(fraction=0.2))
TUNED = Bounds(interval_s=60.0, window_s=60.0, pause_s=120.0)
"""As good as such a check gets: measured every minute, over that minute, with the field's own failureLimit of 0."""
GOOD_S, TUNING_SEED = 7260.0, 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=400, help="good rollouts of each kind of traffic; a quarter of it for the rest"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="good,bad,power,edge", help="parts, comma-separated")
    given = parser.parse_args()
    kept: dict[str, Any] = {}
    parts = {"good": good, "bad": bad, "power": power, "edge": edge}
    RESULTS.parent.mkdir(exist_ok=True)
    for name in given.only.split(","):
        began = time.monotonic()
        print(f"\n{name}", flush=True)
        # Kept as far as it has come: a part takes minutes.
        for part in parts[name](given.runs, given.processes):
            kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            spent = {"seconds": round(time.monotonic() - began), "date": datetime.now(UTC).date().isoformat()}
            RESULTS.write_text(json.dumps(kept | {name: part | spent}, indent=1))
    kept = json.loads(RESULTS.read_text())
    PAGE.write_text("\n".join(page(kept)) + "\n")
    if "power" in kept:
        plot_power(kept["power"], PAGE.with_name("rollouts-power.png"))
    if "bad" in kept:
        plot_delays(kept["bad"], PAGE.with_name("rollouts-delays.png"))
    print(f"\nwrote {PAGE.relative_to(ROOT)}")


def rules(traffic: Traffic, bounds: Bounds, *, shadow: bool = True) -> dict[str, tuple[Any, Any, float]]:
    """Name, settings and seconds of every set of rules for a kind of traffic. Looks are rarer where requests are."""
    look_s = 60.0 if traffic.rate < 10 else 5.0
    ours = {"evidence": (EvidenceRules, Plan(STEPS, look_s), GOOD_S)}
    if shadow:
        ours["evidence, with a shadow"] = (EvidenceRules, Plan(WITH_SHADOW, look_s), GOOD_S)
    return ours | {
        "threshold, tuned": (ThresholdCheck, bounds, 3600.0),
        "threshold, Argo's example": (ThresholdCheck, Bounds(), 3600.0),
        "Mann-Whitney, Kayenta's": (RankJudge, Horizon(), 10800.0),
    }


def tune(traffic: Traffic, count: int) -> Bounds:
    """The threshold that good rollouts of this traffic trip with the chance that ours have, at most."""
    worst = []
    for seed in range(TUNING_SEED, TUNING_SEED + count):
        check = ThresholdCheck(replace(TUNED, success_rate=-1.0))
        run(Trace(Scenario(traffic), 3600.0, seed), check)
        worst.append(check.highest)
    return tuned(TUNED, worst, STEPS.alpha)


def good(runs: int, processes: int) -> Iterator[dict[str, Any]]:
    """False roll-backs, and how long a good version takes, by traffic."""
    found: dict[str, Any] = {"runs": runs, "table": {name: {} for name in TRAFFIC}}
    # Set of rules by set of rules, ours first: what is kept half-way says something of every kind of traffic.
    for who in rules(Traffic(), TUNED):
        for name, traffic in TRAFFIC.items():
            bounds = tune(traffic, max(runs, 400)) if who == "threshold, tuned" else TUNED
            asked = {who: rules(traffic, bounds)[who]}
            if who == "threshold, tuned":
                # What becomes of the same bounds where traffic is not what they were made for.
                steady = tune(TRAFFIC["constant"], max(runs, 400))
                asked["threshold, tuned on constant traffic"] = (ThresholdCheck, steady, 3600.0)
            table = _all(Scenario(traffic), asked, runs, processes)
            found["table"][name] |= table
            _say(name, table)
            yield found


def bad(runs: int, processes: int) -> Iterator[dict[str, Any]]:
    """How often and how soon a fault is rolled back, at 200 requests a second."""
    count = max(runs // 2, 20)
    bounds = tune(TRAFFIC["constant"], max(runs, 400))
    found: dict[str, Any] = {"runs": count, "table": {}}
    for name, fault in BAD.items():
        scenario = Scenario(TRAFFIC["constant"], fault=read_faults([fault]))
        found["table"][name] = _all(scenario, rules(scenario.traffic, bounds), count, processes)
        _say(name, found["table"][name])
        yield found


def power(runs: int, processes: int) -> Iterator[dict[str, Any]]:
    """Share of rollouts that are rolled back, by size of the fault; within half an hour for ours."""
    count = max(runs // 8, 20)
    bounds = tune(TRAFFIC["constant"], max(runs, 400))
    found: dict[str, Any] = {"runs": count, "errors": [], "latency": []}
    sizes = [("errors", size, Fault(errors=size)) for size in SIZES] + [
        ("latency", factor, Fault(latency=factor)) for factor in FACTORS
    ]
    for kind, size, fault in sizes:
        asked = rules(TRAFFIC["constant"], bounds, shadow=False)
        asked["evidence"] = (EvidenceRules, Plan(STEPS, 15.0), 1800.0)
        table = _all(Scenario(fault=fault), asked, count, processes)
        found[kind].append({"size": size, "rules": table})
        _say(f"{kind} {size:g}", table)
        yield found


def edge(runs: int, processes: int) -> Iterator[dict[str, Any]]:
    """Versions on the margin: rolled back with alpha at most, and beyond it: live with alpha at most."""
    count = max(runs // 2, 20)
    found: dict[str, Any] = {"runs": count, "table": {}}
    margins = STEPS.margins
    versions = {
        "errors at the margin": Fault(errors=margins.error_rate),
        "errors just beyond it": Fault(errors=margins.error_rate * 1.1),
        "latency just beyond its margin": Fault(latency=margins.latency_p99 * 1.05),
        "outputs just beyond their margin": Fault(scores=margins.output_drift),
    }
    for name, fault in versions.items():
        asked = {"evidence": (EvidenceRules, Plan(STEPS, 15.0), GOOD_S)}
        found["table"][name] = _all(Scenario(fault=fault), asked, count, processes)
        _say(name, found["table"][name])
        yield found


def _all(scenario: Scenario, asked: dict[str, tuple[Any, Any, float]], count: int, processes: int) -> dict[str, Any]:
    # The rank test is the costliest, and the one whose figures leave the least doubt.
    counts = {name: max(count // 4, 20) if make is RankJudge else count for name, (make, _, _) in asked.items()}
    jobs = [Job(scenario, make, settings, seconds, counts[name]) for name, (make, settings, seconds) in asked.items()]
    results = run_all(jobs, processes)
    return {name: _plain(summarise(each)) for name, each in zip(asked, results, strict=True)}


def _plain(summary: Summary) -> dict[str, Any]:
    found = asdict(summary)
    for name in ("live", "rolled_back", "waiting", "in_shadow"):
        share: Share = getattr(summary, name)
        found[name]["bounds"] = share.bounds
    return found


def _say(name: str, table: dict[str, Any]) -> None:
    for who, one in table.items():
        back, live = one["rolled_back"], one["live"]
        print(f"  {name:32} {who:28} {'  '.join(_said(back, live, one))}", flush=True)


def _said(back: dict[str, Any], live: dict[str, Any], one: dict[str, Any]) -> Iterator[str]:
    yield f"rolled back {back['events']}/{back['trials']} (at most {100 * back['bounds'][1]:.2g} %)"
    yield f"in {one['seconds_back']['median']:.0f}, {one['seconds_back']['p95']:.0f} s"
    yield f"live {live['events']} in {one['seconds_live']['median']:.0f}, {one['seconds_live']['p95']:.0f} s"
    yield f"hurt {one['hurt']['median']:.0f}  {one['metrics']}"


if __name__ == "__main__":
    main()
