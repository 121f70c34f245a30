"""Quality as evidence on a cluster: outcomes of both versions' answers are told while one is on trial, and go by Kafka to the
chart's log sink, whose Service the operator asks; the version whose answers turn out wrong is taken back, and says so.

True is what the example's own bundle says, nine times of ten; the version on trial has its labels swapped. That its answers fall
otherwise would show by itself, and sooner: it has all the margin there is, so that outcomes alone decide.
"""

import asyncio
import json
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import httpx
import pytest
from bed import flights as example
from bed import log_sink
from bed.faulty import make_swapped
from bed.flights import CLAIM, Flights
from bed.log_sink import told
from bed.logging_service import ask_and_tell, known_flights
from bed.versions import manifest, penstock_rollout

from penstock.testing.waiting import until

pytestmark = pytest.mark.timeout(2400)
NAME = "judged"
VERSION = "judged-swapped"
FLIGHTS, AT_ONCE = 3000, 100
TRIAL_S = 1200.0
ROLLOUT: dict[str, Any] = {"strategy": "evidence", "steps": [50, 100], "margins": {"outputDrift": 1.0, "latencyP99": 3.0}}
ENDED = frozenset({"Live", "RolledBack", "Failed", "Retired"})


@pytest.fixture
def judged(flights: Flights) -> Iterator[str]:
    """The URL of a model whose every prediction is logged, with a sink that the operator asks."""
    if flights.cluster.kind != "own":
        pytest.skip("claims are folders of this machine on our own cluster only: PENSTOCK_CLUSTER=own")
    with log_sink.running(flights, NAME), log_sink.serving(flights, NAME) as url, log_sink.asked(flights):
        yield url
        flights.kubectl("delete", "modelversion", VERSION, "--ignore-not-found", "--timeout=180s")


def read_status(flights: Flights) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(flights.kubectl("get", "modelversion", VERSION, "--output=json")).get("status", {})
    return status


def test_a_version_whose_answers_turn_out_wrong_is_taken_back_and_says_so(flights: Flights, judged: str) -> None:
    own, bundle = example.digest(flights.bundle), make_swapped(flights, VERSION)
    known = known_flights(FLIGHTS)
    parts = cycle([known[at : at + AT_ONCE] for at in range(0, FLIGHTS, AT_ONCE)])

    def is_late(answer: httpx.Response) -> bool:
        """As the example's own bundle says: the other one's labels are its, swapped."""
        says_late = bool(answer.json()["predictions"][0]["label"] == "late")
        return says_late == answer.headers["penstock-bundle"].endswith(own)

    flights.apply(manifest(VERSION, bundle, uri=f"pvc://{CLAIM}/{VERSION}", model=NAME, **ROLLOUT))
    status: dict[str, Any] = {}

    def is_over() -> bool:
        """Some more requests and what became of them, then a look at the version."""
        assert asyncio.run(ask_and_tell(judged, next(parts), is_late)) == AT_ONCE
        status.update(read_status(flights))
        return status.get("stage") in ENDED

    until(is_over, TRIAL_S, lambda: f"the end of {VERSION}, which says {status}")
    message = status["message"]
    print(message, [(entry.name, entry.revision, entry.sums.rows, entry.sums.right) for entry in told(flights, NAME)], flush=True)
    assert (status["phase"], status["reason"], status["weight"]) == ("RolledBack", "WorseThanMargin", 0), message
    assert message.startswith("Rolled back: ")
    assert all(words in message for words in (VERSION, "turned out wrong", "outcomes", "over the margin of 2")), message
    quality = status["evidence"]["analysis"]["tests"]["quality"]
    assert quality["verdict"] == "harmful"
    assert quality["says"] in message
    # What it says is what was told: of the one nine answers of ten are right, of the other one.
    for is_own in (True, False):
        sums = [entry.sums for entry in told(flights, NAME) if (entry.bundle == own) == is_own and not entry.shadow]
        assert sum(one.right for one in sums) / sum(one.rows for one in sums) == pytest.approx(0.9 if is_own else 0.1, abs=0.08)
    assert "turned out wrong" in " ".join(penstock_rollout(flights, "status", VERSION).split())
