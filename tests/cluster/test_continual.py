"""Continual learning on a cluster, the whole circle: served and logged there, told what became of it, found bad by the chart's
trigger, retrained by the Job that it makes, applied, verified, taken Live by evidence alone, and better afterwards.

The log is a folder of transformers' own, in a claim; test_log_sink.py has the way by Kafka.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bed import flights as example
from bed import logging_service, retraining
from bed.flights import Flights
from bed.logging_service import LOG, ask_and_tell, folder, known_flights
from bed.trials import CALLERS

from penstock.testing.waiting import until
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.quality import Quality, qualities
from penstock_transformer.feedback.trigger.memory_file import MemoryFile

pytestmark = pytest.mark.timeout(3600)
NAME = "circle"
ASKED, ASKED_AFTER = 600, 200
LEAST = 0.7
PER_SECOND = 100
WAIT_S = 180.0
# Windows of every second, so that one with all of the outcomes is judged at once.
WATCH = {
    "model": NAME, "window": "1h", "every": "1s", "leastRows": ASKED_AFTER * 3 // 4, "coolDown": "1h", "bundles": "/bundles",
    "log": f"pvc://{LOG}", "quality": {"accuracy": {"least": LEAST}},
}  # fmt: skip


@pytest.fixture
def logged(flights: Flights) -> Iterator[str]:
    """The URL of a model of its own, whose every prediction is logged, and beside it all that a retraining takes."""
    if flights.cluster.kind != "own":
        pytest.skip("claims are folders of this machine on our own cluster only: PENSTOCK_CLUSTER=own")
    flights.apply(logging_service.logging_service(flights, NAME))
    retraining.install(flights, WATCH)
    flights.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{NAME}", "--timeout=180s", timeout_s=200)
    flights.kubectl("rollout", "status", f"deployment/{NAME}-transformer", "--timeout=60s")
    with flights.cluster.reach(flights.namespace, f"{NAME}-transformer", 80) as (host, port):
        yield f"http://{host}:{port}"
    flights.kubectl("delete", "modelversion", "--all", "--timeout=180s")
    flights.kubectl("delete", "inferenceservice", NAME, "--timeout=60s")
    retraining.remove(flights, NAME)


@contextmanager
def calling(url: str) -> Iterator[None]:
    """Steady requests, whose outcomes nobody tells."""
    with subprocess.Popen([sys.executable, str(CALLERS), url, "--per_second", str(PER_SECOND)]) as running:
        try:
            yield
        finally:
            running.terminate()


def ending_of(log: LogFolder) -> str | None:
    """How the retraining ended that the trigger remembers; None as long as it has not."""
    one = MemoryFile(log).read().retraining
    return None if one is None else one.ending


def quality_of(log: LogFolder, digest: str) -> Quality:
    """By all outcomes of what a bundle has answered."""
    found = qualities(log.rows(), log.outcomes())
    return next(one for one in found if one.bundle.endswith(digest) and not one.shadow)


def test_the_whole_circle(flights: Flights, logged: str) -> None:
    known, log = known_flights(ASKED + ASKED_AFTER), LogFolder(folder(flights, LOG), NAME)
    assert asyncio.run(ask_and_tell(logged, known[:ASKED])) == ASKED
    until(lambda: len(list(log.rows())) == ASKED, WAIT_S, "every row in the log")

    with retraining.trigger(flights):
        job = retraining.await_job(flights, NAME)
        event = retraining.event_of(job)
        print(json.dumps(event, indent=1))
        print(retraining.await_end(flights, job))
        until(lambda: ending_of(log) == "succeeded", WAIT_S, lambda: f"the end of the Job known to the trigger: {ending_of(log)}")
    data = event["data"]
    (reason,) = data["reasons"]
    assert (event["id"], data["digest"]) == (job["metadata"]["name"], example.digest(flights.bundle))
    assert (data["rows"], data["outcomes"], data["log"], reason["name"]) == (ASKED, ASKED, WATCH["log"], "accuracy")
    assert reason["value"] == pytest.approx(quality_of(log, data["digest"]).accuracy)

    version = retraining.version_of(flights, event["id"])
    print(version["spec"]["rollout"])
    # The trigger does not run meanwhile: a log that is read anew each second takes time from the pods that are compared.
    with calling(logged):
        print(retraining.await_live(flights, version["metadata"]["name"]))

    assert asyncio.run(ask_and_tell(logged, known[ASKED:])) == ASKED_AFTER
    with retraining.trigger(flights):
        found = until(lambda: judged(flights), WAIT_S, "the new bundle's outcomes in a window")
    after = quality_of(log, version["spec"]["bundle"]["digest"])
    print(f"accuracy {reason['value']:.3f} when a retraining was asked for, {after.accuracy:.3f} by {after.rows} outcomes since")
    assert after.rows == ASKED_AFTER
    assert (after.accuracy or 0.0) - 2 * (after.accuracy_error or 0.0) > reason["value"]
    # As the trigger finds, which has begun anew and knows what it has asked for.
    assert found[retraining.VALUE, "accuracy"] == pytest.approx(after.accuracy)
    assert found[retraining.PASSED, "accuracy"] == 0.0
    assert found[retraining.STATE, "cooling"] == 1.0


def judged(flights: Flights) -> dict[tuple[str, str], float]:
    """The trigger's metrics once it has judged an accuracy; empty until then."""
    found = retraining.told(flights)
    return found if (retraining.VALUE, "accuracy") in found else {}
