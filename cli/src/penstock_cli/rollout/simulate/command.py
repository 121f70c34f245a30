"""`penstock rollout simulate`: what a rollout would do on traffic like yours, before it has any.

options -> Scenario, Plan -> runs.py, in parallel -> summary -> a table, or JSON
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from penstock.errors import InvalidInput
from penstock_cli.errors import Command
from penstock_cli.rollout.simulate.drawing import document_of, drawn, scenario_said
from penstock_cli.rollout.simulate.evidence_rules import EvidenceRules, Plan
from penstock_cli.rollout.simulate.faults import read_faults
from penstock_cli.rollout.simulate.mann_whitney import Horizon, RankJudge
from penstock_cli.rollout.simulate.policy import End
from penstock_cli.rollout.simulate.ranges import check_rollout
from penstock_cli.rollout.simulate.reading import read_margins, read_rates, read_rollout, read_speed
from penstock_cli.rollout.simulate.run import Run
from penstock_cli.rollout.simulate.runs import Job, run_all
from penstock_cli.rollout.simulate.service import Service
from penstock_cli.rollout.simulate.summary import summarise
from penstock_cli.rollout.simulate.threshold import Bounds, ThresholdCheck
from penstock_cli.rollout.simulate.trace import Scenario
from penstock_cli.rollout.simulate.traffic import KINDS, SLOT_S, Outages, Sticky, Traffic
from penstock_operator.clock import duration_s
from penstock_operator.model_version import Rollout, Shadow

_PIPE_COLUMNS = 140
_AFTER_S = 60.0
"""Beyond `maxDuration`, to see what follows from it."""


@click.command("simulate", cls=Command)
@click.option("--rate", type=click.FloatRange(0, 1e5), default=200.0, show_default=True, help="Requests a second, on average.")
@click.option("--traffic", type=click.Choice(KINDS), default="constant", show_default=True, help="How they come.")
@click.option(
    "--rates", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Your own: a CSV, requests/s a minute."
)
@click.option("--errors", type=click.FloatRange(0, 1), default=0.001, show_default=True, help="Share that fails as things are.")
@click.option("--latency-ms", type=click.FloatRange(0.1, 1e5), default=20.0, show_default=True, help="Their median latency.")
@click.option("--deadline-ms", type=click.FloatRange(0.1, 1e5), help="Callers wait no longer: a later answer has failed.")
@click.option(
    "--utilisation", type=click.FloatRange(0, 0.95), default=0.0, help="How busy all requests keep a version's pods, of 1."
)
@click.option("--sticky", type=click.FloatRange(0, 1), default=0.0, help="Share of requests by callers with a route key.")
@click.option("--callers", type=click.IntRange(1, 20000), default=1, show_default=True, help="How many callers these are.")
@click.option(
    "--caller-speed", metavar="TIMES[:SPREAD]", help="Their requests take TIMES as long; from caller to caller e^SPREAD apart."
)
@click.option("--caller-answers", type=click.FloatRange(0, 1), default=0.0, help="Share of a caller's answers that are its own.")
@click.option("--caller-errors", type=click.FloatRange(0, 1), default=0.0, help="Share of callers whose every request fails.")
@click.option("--outages", type=click.FloatRange(0, 60), default=0.0, help="Outages of both versions an hour, 30 s each.")
@click.option("--fault", "faults", multiple=True, metavar="KIND=SIZE", help="What is wrong with the new version; see above.")
@click.option("-f", "--file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="A ModelVersion: its rollout.")
@click.option("--margins", default="", metavar="NAME=SIZE,…", help="Other margins than the ModelVersion's or the defaults.")
@click.option("--alpha", type=click.FloatRange(1e-6, 0.5), help="Another chance of a false roll-back.")
@click.option("--steps", metavar="10,50,100", help="Other steps.")
@click.option("--shadow", type=click.FloatRange(0, 1), help="Share of requests copied before the first step; 0: no shadow.")
@click.option("--baseline/--no-baseline", default=None, help="Fresh pods of the version before to compare with, or none.")
@click.option("--look", "look_s", type=click.IntRange(SLOT_S, 42), help="Seconds between looks.  [as the operator looks]")
@click.option("--runs", type=click.IntRange(1, 100000), default=200, show_default=True, help="How many rollouts.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed has the same requests.")
@click.option("--processes", type=click.IntRange(1, 256), help="[one a core]")
@click.option("--rivals", is_flag=True, help="The same requests under Argo Rollouts' and Kayenta's rules, too.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="[text]")
def command(
    faults: tuple[str, ...], runs: int, seed: int, processes: int | None, rivals: bool, output: str, **given: Any
) -> None:
    """What a rollout by evidence would do on made traffic: how often it is rolled back, how soon, how long until it is live.

    \b
    --fault KIND=SIZE, as often as you like; none: a version as good as the one before
      errors=0.02        2 % more requests fail          latency=2     every request takes twice as long
      latency=3:0.1      a tenth takes three times       scores=0.2    outputs move by that total variation distance
      labels=0.1         a tenth gets another label      errors=0.02@100  only once it has all requests
      cold=3             three times as slow while its pods are young, which fades in 20 s to a third
      cold=6:5           six times, fading in 5 s        stable-errors=0.1  the version before fails

    Everything is made on this machine: nothing is asked and nothing is sent.
    """
    scenario, plan = _scenario(faults, given), _plan(given)
    max_s = duration_s(plan.rollout.max_duration, 7200.0) + _AFTER_S
    jobs = {"evidence": Job(scenario, EvidenceRules, plan, max_s, runs, seed)}
    if rivals:
        jobs["threshold"] = Job(scenario, ThresholdCheck, Bounds(), 3600.0, runs, seed)
        jobs["Mann-Whitney"] = Job(scenario, RankJudge, Horizon(), 3 * 3600.0, runs, seed)
    results = dict(zip(jobs, run_all(list(jobs.values()), processes, _progress()), strict=True))
    found = {name: summarise(each) for name, each in results.items()}
    if output == "json":
        click.echo(json.dumps(document_of(scenario, found, runs, seed), indent=2))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
    title = f"{scenario_said(scenario)}; {runs} rollouts"
    console.print(drawn(title, found, _example(results["evidence"])))


def _scenario(faults: tuple[str, ...], given: dict[str, Any]) -> Scenario:
    minutes = read_rates(given["rates"]) if given["rates"] else ()
    traffic = Traffic(
        rate=sum(minutes) / len(minutes) if minutes else given["rate"],
        kind=given["traffic"],
        minutes=minutes,
        outages=Outages(given["outages"]),
        sticky=_sticky(given),
    )
    service = Service(
        given["errors"],
        given["latency_ms"] / 1000,
        deadline_s=math.inf if given["deadline_ms"] is None else given["deadline_ms"] / 1000,
        utilisation=given["utilisation"],
    )
    return Scenario(traffic, service, read_faults(faults))


def _sticky(given: dict[str, Any]) -> Sticky:
    slower, spread = read_speed(given["caller_speed"])
    usual = Sticky()
    return Sticky(
        given["sticky"],
        given["callers"],
        # Of all of them, as of the one.
        spells_an_hour=usual.spells_an_hour / given["callers"],
        slower=slower,
        spread=spread,
        own=given["caller_answers"],
        broken=given["caller_errors"],
    )


def _plan(given: dict[str, Any]) -> Plan:
    rollout: Rollout = read_rollout(given["file"])
    rollout = msgspec.structs.replace(rollout, margins=read_margins(given["margins"], rollout.margins))
    if given["alpha"] is not None:
        rollout = msgspec.structs.replace(rollout, alpha=given["alpha"])
    if given["steps"] is not None:
        rollout = msgspec.structs.replace(rollout, steps=_steps(given["steps"]))
    if given["shadow"] is not None:
        shadow = msgspec.structs.replace(rollout.shadow or Shadow(), fraction=given["shadow"]) if given["shadow"] else None
        rollout = msgspec.structs.replace(rollout, shadow=shadow)
    if given["baseline"] is not None:
        rollout = msgspec.structs.replace(rollout, baseline=given["baseline"])
    check_rollout(rollout)
    # Looks are multiples of slots.
    return Plan(rollout, look_s=None if given["look_s"] is None else given["look_s"] // SLOT_S * SLOT_S)


def _steps(text: str) -> tuple[int, ...]:
    try:
        steps = tuple(int(step) for step in text.split(","))
    except ValueError:
        steps = ()
    if not steps or sorted(set(steps)) != list(steps) or steps[0] < 1 or steps[-1] != 100:
        raise InvalidInput(f"expected rising per cents that end with 100, such as 10,50,100, got {text!r}", field="--steps")
    return steps


def _example(runs: list[Run]) -> str:
    """The words of the rollout that was rolled back at the median time; of any, if none was."""
    back = sorted((one for one in runs if one.end is End.ROLLED_BACK), key=lambda one: one.seconds)
    return back[len(back) // 2].why if back else next((one.why for one in runs if one.why), "")


def _progress() -> Callable[[int, int], None] | None:
    if not sys.stderr.isatty():
        return None

    def told(done: int, total: int) -> None:
        click.echo(f"\r{done} of {total} rollouts" + ("\n" if done == total else ""), err=True, nl=False)

    return told
