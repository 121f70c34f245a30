"""Faults of outcomes: of requests that nobody logged, told again and again, told before the request was logged."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from penstock.evidence.quality import LogQuality, QualityDocument
from penstock_operator.judgement import LOOK_S
from penstock_transformer.feedback.grades import grade, joined
from penstock_transformer.feedback.outcome import Outcome, newer
from penstock_transformer.feedback.row import LogRow

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
Make = Callable[..., Any]


class Log:
    """What a sink has: rows of both versions in turn, and the last outcome of each, as a log folder keeps it. Two sinks of one
    folder tell of it."""

    def __init__(self, it: Any) -> None:
        self.it = it
        self.rows: list[LogRow] = []
        self.outcomes: dict[tuple[str, int], Outcome] = {}

    def log(self, identities: Iterable[str]) -> None:
        """These requests were answered "late"."""
        revision = self.it.world.route_revision()
        for at, identity in enumerate(identities):
            answer = {"label": "late", "scores": {"on time": 0.1, "late": 0.9}}
            self.rows.append(
                LogRow(
                    id=identity, row=0, rows=1, clock=1.0, model="flights", bundle=(OLD, NEW)[at % 2], name="n", version="1",
                    route_key=None, chance=1.0, shadow=False, degraded=False, record=None, request="{}", fetched="{}",
                    answer=json.dumps(answer), label="late", score=0.9, value=None, revision=revision,
                )
            )  # fmt: skip

    def tell(self, identities: Iterable[str], label: str) -> None:
        for identity in identities:
            outcome = Outcome(identity, 0, 1.0, label)
            known = self.outcomes.get((identity, 0))
            self.outcomes[identity, 0] = outcome if known is None else newer(known, outcome)

    def seen(self) -> None:
        """The operator looks at what the sinks make of it."""
        entries = grade(joined(self.rows, self.outcomes))
        self.it.world.outcomes = [QualityDocument("flights", [LogQuality("one folder", 1.0, 0.0, entries)]) for _ in range(2)]
        self.it.run(2 * LOOK_S)


@pytest.fixture
def log(story: Make) -> Log:
    it = story()
    it.rate = 8.0
    return Log(it)


def requests(count: int) -> list[str]:
    """Every second is the old version's, and then the new one's."""
    return [f"r{number}" for number in range(count)]


def test_outcomes_of_requests_that_nobody_logged_are_nobodys(log: Log) -> None:
    log.log(requests(20))
    log.tell([f"unknown {number}" for number in range(2000)], "on time")
    log.seen()
    assert log.it.phase == "Canary"
    assert "quality" not in log.it.status["evidence"]["analysis"]["tests"]


def test_an_outcome_that_is_told_again_and_again_is_one(log: Log) -> None:
    log.log(requests(20))
    log.tell(requests(20)[::2], "late")
    for _ in range(500):
        log.tell(requests(20)[1:8:2], "on time")
        log.tell(requests(20)[9::2], "late")
    log.seen()
    assert log.it.phase == "Canary"
    log.log(f"more {number}" for number in range(400))
    for _ in range(2):
        log.tell([f"more {number}" for number in range(0, 400, 2)], "late")
        log.tell([f"more {number}" for number in range(1, 400, 2)], "on time")
    log.seen()
    assert log.it.phase == "RolledBack"
    # 10 and 200 of each.
    assert "of flights-2's answers turned out wrong (210 outcomes) against 0 % of flights-1's" in log.it.message


def test_outcomes_that_come_before_their_requests_are_logged_count_once_they_are(log: Log) -> None:
    log.tell(requests(400)[::2], "late")
    log.tell(requests(400)[1::2], "on time")
    log.seen()
    assert log.it.phase == "Canary"
    log.log(requests(400))
    log.seen()
    assert log.it.phase == "RolledBack"
    assert "100 % of flights-2's answers turned out wrong (200 outcomes) against 0 % of flights-1's" in log.it.message
