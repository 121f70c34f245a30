"""Outcomes decide a rollout, from Kafka to the status: the real sink makes sums of what was logged and told, the real operator
asks it. Transformers are played: their evidence, by which nothing can be decided, and the log that they would write.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest
import yaml

from penstock.testing.kafka import KafkaServer
from penstock.testing.server import ServerProcess
from penstock_transformer.feedback.document import LoggedRequest, LoggedRow, write_request
from penstock_transformer.feedback.kafka import log_topic, outcomes_topic

pytestmark = pytest.mark.timeout(400)
MODEL = "flights"
DEADLINE_S = 150.0
Wait = Callable[..., Any]


@pytest.fixture
def sink(kafka: KafkaServer, tmp_path: Path) -> Iterator[ServerProcess]:
    """The program, ready; it writes and judges at once."""
    topics = ("--kafka_create_topics", "true", "--kafka_partitions", "2", "--kafka_replication", "1", "--kafka_min_insync", "1")
    options = (
        "--kafka_bootstrap",
        kafka.bootstrap,
        "--models",
        MODEL,
        "--log_dir",
        str(tmp_path / "log"),
        "--drain_delay_s",
        "0",
    )
    often = ("--log_part_s", "0.3", "--quality_s", "0.3", "--log_sink_group", f"of-{tmp_path.name}")
    process = ServerProcess("penstock_transformer", *options, *topics, *often, program=("log-sink",))
    with process as ready:
        yield ready


def digest(digit: str) -> str:
    return "sha256:" + digit * 64


class Callers:
    """What transformers log of requests under one revision of the route, and what is told of them: all was on time."""

    def __init__(self, kafka: KafkaServer, revision: int) -> None:
        self._producer = ck.Producer({"bootstrap.servers": kafka.bootstrap})
        self._revision = revision

    def ask(self, digit: str, count: int, *, wrong: int) -> None:
        """So many requests, of which every `wrong`th was answered "late"."""
        bundle = digest(digit)
        for number in range(count):
            identity = f"{bundle[-4:]}-{self._revision}-{number}"
            label = "on time" if number % wrong else "late"
            answer = {
                "label": label,
                "scores": {"on time": 0.6, "late": 0.4} if number % wrong else {"on time": 0.2, "late": 0.8},
            }
            logged = LoggedRequest(
                id=identity, time=time.time(), model=MODEL, bundle=bundle, name=MODEL, version="1", chance=1.0,
                rows=[LoggedRow({}, {}, answer)], revision=self._revision,
            )  # fmt: skip
            self._producer.produce(log_topic(MODEL), write_request(logged), key=identity)
            self._producer.produce(outcomes_topic(MODEL), json.dumps({"id": identity, "label": "on time"}), key=identity)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0


def on_trial(bed: Any, wait: Wait, kafka: KafkaServer, old: str, new: str) -> Callers:
    """A version at its first step, and the callers of both."""
    bed.add_version("flights-1", old, strategy="immediate")
    bed.wait_phase("flights-1", "Live")
    # On the margin of errors itself nothing is ever decided: it waits.
    bed.failed[digest(new)] = 50
    bed.add_version("flights-2", new, steps=[10, 100])
    wait(lambda: bed.weights() == {"flights-1": 90, "flights-2": 10}, lambda: f"{bed.status('flights-2')}")
    route = yaml.safe_load(bed.get("configmaps", "penstock-route-flights")["data"]["route.yaml"])
    return Callers(kafka, route["revision"])


def found_of(bed: Any) -> dict[str, Any]:
    """What the last look found, by metric."""
    found: dict[str, Any] = bed.status("flights-2").get("evidence", {}).get("analysis", {}).get("tests", {})
    return found


def test_a_version_whose_answers_turn_out_wrong_is_taken_back(
    bed: Any, wait: Wait, kafka: KafkaServer, sink: ServerProcess
) -> None:
    bed.operator(f"--log_sinks={sink.admin_url}")
    callers = on_trial(bed, wait, kafka, "1", "2")
    callers.ask("1", 1800, wrong=10)
    callers.ask("2", 400, wrong=2)
    wait(lambda: bed.phase("flights-2") == "RolledBack", lambda: f"{bed.status('flights-2')}", DEADLINE_S)
    status = bed.status("flights-2")
    assert status["reason"] == "WorseThanMargin"
    said = (
        r"Rolled back: 50 % of flights-2's answers turned out wrong \(400 outcomes\) against 10 % of flights-1's in the same"
        r" steps \(1,800 outcomes\); with 99 % confidence at least [0-9.]+ points more, over the margin of 2"
    )
    assert re.match(said, status["message"]), status
    assert found_of(bed)["quality"]["verdict"] == "harmful"
    wait(lambda: bed.weights() == {"flights-1": 100}, "its requests go back")


def test_a_version_whose_answers_are_as_right_as_before_stays(
    bed: Any, wait: Wait, kafka: KafkaServer, sink: ServerProcess
) -> None:
    bed.operator(f"--log_sinks={sink.admin_url}")
    callers = on_trial(bed, wait, kafka, "3", "4")
    callers.ask("3", 1800, wrong=10)
    callers.ask("4", 400, wrong=10)
    wait(lambda: "400 outcomes" in found_of(bed).get("quality", {}).get("says", ""), lambda: f"{found_of(bed)}", DEADLINE_S)
    assert found_of(bed)["quality"]["verdict"] != "harmful"
    assert bed.phase("flights-2") == "Canary"
