"""Every alert under `promtool test rules`: it fires on what it is for, with the words that are meant, and not on what is near."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.testing.prometheus import PrometheusServer, parse_rules, promtool
from penstock.testing.servers import ServerMissing

pytestmark = pytest.mark.timeout(300)
HERE = Path(__file__).parent
RULES = HERE.parents[2] / "charts/penstock/files/alerts.yaml"
CASES: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "cases.yaml").read_text())
ALERTS = {rule["alert"].removeprefix("Penstock"): rule for rule in parse_rules(RULES)}


def expected(name: str) -> dict[str, Any]:
    """The alert as it must be: its labels and the words of its annotations, of which the description has none to fill in."""
    rule = ALERTS[name]
    return {
        "exp_labels": {**CASES[name]["labels"], **rule["labels"]},
        "exp_annotations": {**rule["annotations"], "summary": CASES[name]["summary"]},
    }


def write_test(folder: Path, names: list[str], series: dict[str, str], alerts: list[dict[str, Any]], at: str) -> Path:
    """A test of promtool's for these alerts, which alone are evaluated."""
    folder.mkdir()
    rules = folder / "rules.yaml"
    rules.write_text(json.dumps({"groups": [{"name": "one", "rules": [ALERTS[name] for name in names]}]}))
    # Two days a minute at a time take promtool a while.
    interval = "5m" if int(at.removesuffix("m")) > 300 else "1m"
    test = {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": f"Penstock{name}", "exp_alerts": alerts} for name in names],
    }
    file = folder / "test.yaml"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": interval, "tests": [test]}))
    return file


def judge(*files: Path) -> "subprocess.CompletedProcess[str]":
    """What promtool says of tests."""
    try:
        return promtool("test", "rules", *map(str, files))
    except ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    """`wrong(name, "fires" | "quiet")`: what promtool finds wrong with an alert, nothing if all is as expected. All are judged at
    once, since promtool takes longer to start than to judge; only one that does not pass is judged again, for its reason."""
    folder = tmp_path_factory.mktemp("alerts")
    files: dict[tuple[str, str], Path] = {}
    for name, case in CASES.items():
        if name in ALERTS:
            fires = write_test(folder / f"{name}-fires", [name], case["series"], [expected(name)], case["at"])
            quiet = write_test(folder / f"{name}-quiet", [name], case["quiet"], [], case["at"])
            files |= {(name, "fires"): fires, (name, "quiet"): quiet}
    passed = set(re.findall(r"^Unit Testing: +(\S+)\n +SUCCESS$", judge(*files.values()).stdout, re.MULTILINE))

    def wrong_with(name: str, how: str) -> str:
        file = files[name, how]
        if str(file) in passed:
            return ""
        alone = judge(file)
        return alone.stdout + alone.stderr

    return wrong_with


def test_every_alert_has_its_case() -> None:
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_it_fires(name: str, wrong: Callable[[str, str], str]) -> None:
    assert wrong(name, "fires") == ""


@pytest.mark.parametrize("name", ALERTS)
def test_it_is_quiet(name: str, wrong: Callable[[str, str], str]) -> None:
    assert wrong(name, "quiet") == ""


def test_no_alert_fires_where_nothing_is_scraped(tmp_path: Path) -> None:
    done = judge(write_test(tmp_path / "nothing", list(ALERTS), {'up{job="x"}': "1x30"}, [], "30m"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_running_system_s_prometheus_takes_every_rule(prometheus: PrometheusServer) -> None:
    rules = {rule["name"]: rule for rule in prometheus.rules()}
    assert set(rules) == {f"Penstock{name}" for name in ALERTS}
    assert {name: rule.get("lastError") for name, rule in rules.items() if rule["health"] == "err"} == {}
