"""Every alert under `promtool test rules`: it fires on what it is for, with the words that are meant, and not on what is near."""

import json
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


def judge(folder: Path, names: list[str], series: dict[str, str], alerts: list[dict[str, Any]], at: str) -> str:
    """What promtool finds wrong with these alerts, which alone are evaluated; nothing if all is as expected."""
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
    try:
        done = promtool("test", "rules", str(file))
    except ServerMissing as missing:
        pytest.skip(str(missing))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_alert_has_its_case() -> None:
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_it_fires(name: str, tmp_path: Path) -> None:
    assert judge(tmp_path, [name], CASES[name]["series"], [expected(name)], CASES[name]["at"]) == ""


@pytest.mark.parametrize("name", ALERTS)
def test_it_is_quiet(name: str, tmp_path: Path) -> None:
    assert judge(tmp_path, [name], CASES[name]["quiet"], [], CASES[name]["at"]) == ""


def test_no_alert_fires_where_nothing_is_scraped(tmp_path: Path) -> None:
    assert judge(tmp_path, list(ALERTS), {'up{job="x"}': "1x30"}, [], "30m") == ""


def test_the_running_system_s_prometheus_takes_every_rule(prometheus: PrometheusServer) -> None:
    rules = {rule["name"]: rule for rule in prometheus.rules()}
    assert set(rules) == {f"Penstock{name}" for name in ALERTS}
    assert {name: rule.get("lastError") for name, rule in rules.items() if rule["health"] == "err"} == {}
