"""A real Prometheus that scrapes programs of a test, and promtool.

    with PrometheusServer([Target("127.0.0.1:9090", {"component": "transformer"})]) as prometheus:
        prometheus.query("up")      -> [({"component": …}, 1.0)]

Labels of a target are those that the chart's monitors give it in a cluster. Rules may be evaluated too.
"""

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from penstock.testing.servers import Server, ServerMissing

QUERY_S = 20.0
_MISSING = "Prometheus is missing: apt-get install prometheus"


class Target(NamedTuple):
    """Where /metrics is (`host:port`), and the labels that its samples get; with the label `__scheme__` https over TLS.
    `honoured`: labels of its own stand before these."""

    address: str
    labels: Mapping[str, str]
    honoured: bool = False


class Sample(NamedTuple):
    """One series of an answer: its labels, and its value at the moment of the query."""

    labels: dict[str, str]
    value: float


class PrometheusServer(Server):
    """Prometheus over fixed targets. `interval_s`: between two scrapes, and two looks at the rules in the files `rules`."""

    name = "prometheus"

    def __init__(self, targets: Sequence[Target], *, interval_s: float = 1.0, rules: Sequence[Path] = ()) -> None:
        program = shutil.which("prometheus")
        if program is None:
            raise ServerMissing(_MISSING)
        super().__init__()
        self._program = program
        self._file = self.directory / "prometheus.yml"
        # JSON is YAML. A duration has no fraction there.
        interval = f"{round(interval_s * 1000)}ms"
        self._file.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
                    "rule_files": [str(path) for path in rules],
                    "scrape_configs": [
                        {
                            "job_name": f"penstock-{number}",
                            "honor_labels": one.honoured,
                            "tls_config": {"insecure_skip_verify": True},
                            "static_configs": [{"targets": [one.address], "labels": dict(one.labels)}],
                        }
                        for number, one in enumerate(targets)
                    ],
                }
            )
        )

    def command(self) -> list[str]:
        """Prometheus on its port, its data in its directory."""
        return [
            self._program,
            f"--config.file={self._file}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={self.host}:{self.port}",
            "--log.level=warn",
        ]

    def answers(self) -> bool:
        """Its own word for being ready."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.port}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[Sample]:
        """The series of an instant query. Raises RuntimeError with Prometheus' own words for one that is wrong."""
        found = self._get("query", query=expression)["result"]
        return [Sample(series["metric"], float(series["value"][1])) for series in found]

    def query_range(self, expression: str, start_s: float, stop_s: float, step_s: float) -> list[tuple[dict[str, str], Any]]:
        """The series of a range query: labels, and (seconds since the epoch, value as text) pairs."""
        found = self._get("query_range", query=expression, start=start_s, end=stop_s, step=step_s)["result"]
        return [(series["metric"], series["values"]) for series in found]

    def rules(self) -> list[dict[str, Any]]:
        """The alerts that it evaluates, each with its `health` and `lastError`."""
        groups = self._get("rules", type="alert")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, path: str, **arguments: Any) -> Any:
        url = f"http://{self.host}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=QUERY_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {json.loads(error.read())['error']}: {arguments}") from None


def promtool(*arguments: str, input: str = "") -> "subprocess.CompletedProcess[str]":
    """Run promtool; what it wrote is in the result. Raises ServerMissing."""
    program = shutil.which("promtool")
    if program is None:
        raise ServerMissing(_MISSING)
    return subprocess.run([program, *arguments], input=input, capture_output=True, text=True, check=False, timeout=240)


def parse_rules(path: Path) -> list[dict[str, Any]]:
    """The alerts of a rule file."""
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"] if "alert" in rule]
