"""Every query of every dashboard, asked of a real Prometheus over the running system: each must have an answer."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.prometheus import PrometheusServer
from penstock.testing.waiting import until

# The first of them starts the whole system.
pytestmark = pytest.mark.timeout(300)
DASHBOARDS = Path(__file__).resolve().parents[3] / "charts/penstock/files/dashboards"
CHOSEN = {"$namespace": "ml|platform", "$model": ".*", "$__rate_interval": "20s", "$__range": "5m"}
WAIT_S = 20.0


def queries() -> list[Any]:
    """(dashboard, row, panel, expression), an id each that names them."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        row = ""
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] == "row":
                row = panel["title"]
                continue
            for target in panel["targets"]:
                name = f"{path.stem}/{row}/{panel['title']}/{target['refId']}"
                found.append(pytest.param(name, target["expr"], id=name))
    return found


def filled_in(expression: str) -> str:
    for variable, value in CHOSEN.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression.replace('"$1"', ""), expression
    return expression


@pytest.mark.parametrize(("name", "expression"), queries())
def test_the_panel_has_data(name: str, expression: str, prometheus: PrometheusServer) -> None:
    asked = filled_in(expression)

    def answer() -> list[float]:
        return [sample.value for sample in prometheus.query(asked) if not math.isnan(sample.value)]

    found = until(answer, WAIT_S, f"data of the panel {name}: {asked}")
    assert all(math.isfinite(value) for value in found), f"{name}: {found}"
