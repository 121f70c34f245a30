"""The chart's monitors, used: a real Prometheus beside the cluster scrapes what they select, and dashboards' queries have data.

    chart's ServiceMonitor and PodMonitor --bed/monitors.py--> Prometheus <--bed/discovery.py-- API server
                                                                   |--scrapes--> pods of the cluster

Two parts are played: the Prometheus operator's, which translates monitors, and the discovery by the API server, which Debian's
Prometheus is built without. Relabelling and scraping, and what the queries say, are Prometheus' own.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from bed import chart as penstock_chart
from bed import manifests
from bed.discovery import discovery
from bed.flights import MODEL, RECORD, Flights
from bed.monitors import scrape_configs
from bed.underway import load_beside
from bed.versions import manifest, wait_live

from penstock.testing.prometheus import PrometheusServer
from penstock.testing.servers import ServerMissing
from penstock.testing.waiting import until

MONITORS = "templates/monitoring/monitors.yaml"
DASHBOARDS = penstock_chart.CHART / "files" / "dashboards"
TOGETHER = "watched"
WITHIN_S = 90.0
# No certificate, no failed call and no outcome of a prediction is here.
NOTHING_OF = {"Certificate", "Failed calls of predictors", "Quality, by outcomes that were told"}


class Program(NamedTuple):
    """What a target's labels must say; `instance` is where it is scraped."""

    instance: str
    namespace: str
    pod: str
    component: str
    inferenceservice: str
    model_version: str


@pytest.fixture(scope="module")
def watched(served: Flights) -> Iterator[Flights]:
    """The example, and beside it one whose transformer and predictor share a pod: two programs to scrape there."""
    if served.cluster.kind != "own":
        pytest.skip("this machine reaches pods of our own cluster only: PENSTOCK_CLUSTER=own")
    served.apply(manifests.collocated(TOGETHER))
    served.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{TOGETHER}", "--timeout=180s", timeout_s=200)
    yield served
    served.kubectl("delete", "inferenceservice", TOGETHER, "--timeout=60s")


@pytest.fixture(scope="module")
def prometheus(watched: Flights) -> Iterator[PrometheusServer]:
    """It has the chart's own monitors, and no other target."""
    rendered = penstock_chart.render(watched.cluster, MONITORS, monitoring={"enabled": True, "interval": "1s"})
    configs = scrape_configs([monitor for monitor in yaml.safe_load_all(rendered) if monitor])
    try:
        server = PrometheusServer([])
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with discovery(watched.cluster, watched.namespace) as discovered:
        configuration = {"scrape_configs": [discovered(config) for config in configs]}
        (server.directory / "prometheus.yml").write_text(json.dumps(configuration))
        with server:
            yield server


def running(watched: Flights) -> Counter[Program]:
    """What is to be scraped, by the pods themselves."""
    shown: list[dict[str, Any]] = []
    for place in (watched.namespace, penstock_chart.NAMESPACE):
        listed = watched.cluster.kubectl("--namespace", place, "get", "pods", "--output=json")
        shown += json.loads(listed)["items"]
    return Counter(program for pod in shown for program in programs(pod))


def programs(pod: dict[str, Any]) -> Iterator[Program]:
    metadata, labels = pod["metadata"], pod["metadata"].get("labels", {})
    if pod["status"]["phase"] in ("Failed", "Succeeded"):
        return
    component = labels.get("penstock.dev/component")
    if labels.get("app.kubernetes.io/name") == "penstock" and labels.get("app.kubernetes.io/component") == "operator":
        component = "operator"
    parts = {"9090": component} if component else {}
    if component == "collocated":
        parts["9091"] = "predictor"
    of = (labels.get("serving.kserve.io/inferenceservice", ""), labels.get("penstock.dev/model-version", ""))
    for port, part in parts.items():
        yield Program(f"{pod['status'].get('podIP')}:{port}", metadata["namespace"], metadata["name"], part, *of)


def scraped(prometheus: PrometheusServer, watched: Flights, value: float) -> Counter[Program]:
    """Targets of the example's namespace and the chart's that are up (1) or down (0)."""
    found = prometheus.query(f'up{{namespace=~"{watched.namespace}|{penstock_chart.NAMESPACE}"}} == {value}')
    return Counter(Program(*(sample.labels.get(field, "") for field in Program._fields)) for sample in found)


def all_is_scraped(prometheus: PrometheusServer, watched: Flights) -> bool:
    return scraped(prometheus, watched, 1) == running(watched) and not scraped(prometheus, watched, 0)


def test_every_program_is_a_target_that_answers(watched: Flights, prometheus: PrometheusServer) -> None:
    def told() -> str:
        up, down = (dict(scraped(prometheus, watched, value)) for value in (1, 0))
        return f"a scrape of each: there is {dict(running(watched))}, up {up}, down {down}"

    until(lambda: all_is_scraped(prometheus, watched), WITHIN_S, told)
    found = running(watched)
    assert {program.component for program in found} >= {"operator", "transformer", "predictor", "collocated"}, found
    assert set(found.values()) == {1}


def queries(path: Path) -> dict[str, str]:
    """A dashboard's queries, by row, panel and number; without those of what is not here."""
    found, row = {}, ""
    for panel in json.loads(path.read_text())["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        elif not NOTHING_OF & {row, panel["title"]}:
            found |= {f"{row}/{panel['title']}/{target['refId']}": target["expr"] for target in panel["targets"]}
    return found


@pytest.mark.parametrize("dashboard", ["platform", "model"])
def test_the_dashboard_has_data(watched: Flights, prometheus: PrometheusServer, dashboard: str) -> None:
    chosen = {"$namespace": f"{watched.namespace}|{penstock_chart.NAMESPACE}", "$model": MODEL, "$__rate_interval": "20s"}
    left = queries(DASHBOARDS / f"{dashboard}.json")
    assert len(left) > 15

    def nothing_left() -> bool:
        for name, expression in list(left.items()):
            for variable, value in chosen.items():
                expression = expression.replace(variable, value)
            if any(math.isfinite(sample.value) for sample in prometheus.query(expression)):
                del left[name]
        return not left

    with load_beside(watched, f"/predict/{RECORD}") as end:
        with watched.cluster.reach(watched.namespace, f"{MODEL}-transformer", 80) as (host, port):
            wrong = httpx.post(f"http://{host}:{port}/models/{MODEL}/predict", json={"rows": [{"distance": "far"}]}, timeout=30)
            assert wrong.status_code == 400, wrong.text
        until(nothing_left, WITHIN_S, lambda: f"data of {left}")
        result = end()
    print({name: result[name] for name in ("statuses", "slowest_s")})
    assert result["failures"] == []


def test_a_version_is_told_of_in_its_own_namespace(
    watched: Flights, prometheus: PrometheusServer, next_bundle: Path, version: str
) -> None:
    """By the operator, whose pod is in another one: labels of its own are honoured. And its predictor's target names it."""
    watched.apply(manifest(version, next_bundle, strategy="immediate"))
    wait_live(watched, version)
    live = f'penstock_model_version_phase{{namespace="{watched.namespace}", version="{version}", phase="Live"}} == 1'
    until(lambda: prometheus.query(live), WITHIN_S, f"the operator's word: {live}")
    up = f'up{{namespace="{watched.namespace}", component="predictor", model_version="{version}"}} == 1'
    until(lambda: prometheus.query(up), WITHIN_S, f"a scrape of its predictor: {up}")
