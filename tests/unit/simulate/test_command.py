"""`penstock rollout simulate`: what it prints, what it takes from a ModelVersion's file, what it refuses and how."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.errors import InvalidInput
from penstock_cli.rollout import rollout
from penstock_cli.rollout.simulate.evidence_rules import EvidenceRules, Plan
from penstock_cli.rollout.simulate.policy import End
from penstock_cli.rollout.simulate.reading import read_margins, read_rates, read_rollout
from penstock_cli.rollout.simulate.run import run
from penstock_cli.rollout.simulate.trace import Scenario, Shares, Trace
from penstock_cli.rollout.simulate.traffic import Traffic
from penstock_operator.model_version import Margins, Rollout


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(rollout, ["simulate", "--processes", "1", "--look", "12", *arguments])


def test_a_bad_version_is_rolled_back_with_its_reason() -> None:
    found = simulate("--fault", "errors=0.3", "--steps", "50,100", "--runs", "3", "-o", "json")
    assert found.exit_code == 0, found.output
    document = json.loads(found.output)
    assert document["scenario"].endswith("the new version has errors=0.3")
    assert document["rules"]["evidence"]["rolledBack"]["events"] == 3
    assert document["rules"]["evidence"]["rolledBackBy"] == {"errorRate": 3}
    shown = simulate("--fault", "errors=0.3", "--steps", "50,100", "--runs", "2", "--rivals", "--rate", "50")
    assert shown.exit_code == 0, shown.output
    for expected in ("For example: Rolled back: ", "Mann-Whitney", "threshold", "errorRate 2", "100 % (15.8-100)"):
        assert expected in shown.output


def test_a_shadow_finds_other_labels_before_anybody_gets_them() -> None:
    found = simulate("--fault", "labels=0.4", "--shadow", "0.5", "--runs", "2", "-o", "json")
    rules = json.loads(found.output)["rules"]["evidence"]
    assert rules["rolledBackInShadow"]["events"] == 2
    assert rules["failedRequests"] == {"median": 0.0, "p95": 0.0}


@pytest.mark.parametrize(
    "cold, flag, back", [("cold=6:5", "--no-baseline", 0), ("cold=6:60", "--no-baseline", 3), ("cold=6:60", "--baseline", 0)]
)
def test_cold_pods_take_nothing_back_within_half_a_minute_or_where_those_beside_them_are_cold(
    cold: str, flag: str, back: int
) -> None:
    found = simulate("--fault", cold, "--steps", "25,100", "--runs", "3", "--rate", "50", flag, "-o", "json")
    assert json.loads(found.output)["rules"]["evidence"]["rolledBack"]["events"] == back


def test_no_traffic_is_waited_for() -> None:
    found = run(Trace(Scenario(Traffic(rate=0)), 300, 1), EvidenceRules(Plan(look_s=12.0)))
    assert (found.end, found.answered) == (End.WAITING, 0)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--fault", "speed=2"], "--fault: expected KIND=SIZE"),
        (["--margins", "errors=2"], "--margins: expected NAME=SIZE"),
        (["--steps", "50,5"], "--steps: expected rising per cents"),
        (["--steps", "5,50"], "--steps: expected rising per cents"),
        (["--caller-speed", "fast"], "--caller-speed: expected TIMES"),
        (["--caller-speed", "1:9"], "--caller-speed: expected TIMES"),
        (["--traffic", "odd"], "'odd' is not one of"),
        (["--file", "/nowhere.yaml"], "does not exist"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], said: str) -> None:
    found = simulate(*arguments)
    assert found.exit_code != 0
    assert said in found.output


def test_a_model_version_gives_its_rollout(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(
        "kind: Other\n---\nkind: ModelVersion\nspec: {rollout: {steps: [10, 100], alpha: 0.05, margins: {errorRate: 0.02},"
        " shadow: {fraction: 0.3}}}\n"
    )
    found = read_rollout(path)
    assert (found.steps, found.alpha, found.margins.error_rate, found.margins.latency_p99) == ((10, 100), 0.05, 0.02, 1.25)
    assert found.shadow is not None
    assert found.shadow.fraction == 0.3
    assert read_rollout(None) == Rollout()
    for text, said in (
        ("a: [", "not YAML"),
        ("kind: Pod", "found none"),
        ("kind: ModelVersion\nspec: {rollout: {alpha: x}}", "alpha"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidInput, match=said):
            read_rollout(path)


def test_looks_come_as_the_operators_do_unless_it_is_said() -> None:
    """In slots of 6 s: seldom, once little can change between two looks."""
    trace, rules, looks = Trace(Scenario(Traffic(rate=0)), 1000, 1), EvidenceRules(Plan()), [0.0]
    while looks[-1] < 900:
        until_s = looks[-1] + rules.look_s
        rules.look(until_s, trace.between(looks[-1], until_s, Shares()))
        looks.append(until_s)
    between = [after - before for before, after in pairwise(looks)]
    assert between[:20] == [6.0] * 20
    assert between == sorted(between)
    assert between[-1] == 30.0
    assert EvidenceRules(Plan(look_s=12.0)).look_s == 12.0


def test_callers_deadlines_and_busy_pods_are_asked_for_and_said() -> None:
    arguments = (
        "--sticky",
        "0.5",
        "--callers",
        "40",
        "--caller-speed",
        "2:0.3",
        "--caller-answers",
        "0.8",
        "--caller-errors",
        "0.05",
        "--deadline-ms",
        "90",
    )
    found = simulate(
        *arguments, "--utilisation", "0.6", "--steps", "50,100", "--runs", "1", "--fault", "errors=0.5", "-o", "json"
    )
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["scenario"] == (
        "200 requests/s, constant; 0.1 % errors, 20 ms; 90 ms at most; pods 60 % busy; 50 % of them by 40 sticky callers, 2 times"
        " as slow, each with a speed of its own (e^0.3 apart), 80 % of whose answers are their own, 5 % of whom always fail;"
        " the new version has errors=0.5"
    )


def test_margins_and_rates_are_read(tmp_path: Path) -> None:
    assert read_margins("errorRate=0.01, latencyP99=2", Margins()) == Margins(error_rate=0.01, latency_p99=2.0)
    path = tmp_path / "rates.csv"
    path.write_text("time,rate\n1,10\n2,30\n")
    assert read_rates(path) == (10.0, 30.0)
    path.write_text("time,rate\n1,10\n2,x\n")
    with pytest.raises(InvalidInput, match=r"rates\.csv:3"):
        read_rates(path)
    for without in ("time,rate\n", "0\n0\n", "10\n-1\n", "10\nnan\n", "10\ninf\n"):
        path.write_text(without)
        with pytest.raises(InvalidInput, match="not all 0"):
            read_rates(path)


def test_ones_own_rates_are_repeated(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("100\n300\n")
    found = simulate("--rates", str(path), "--runs", "1", "--fault", "errors=0.5", "-o", "json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["scenario"].startswith("200 requests/s, your own rates")
