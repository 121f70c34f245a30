"""Rollouts by evidence on a cluster, with default margins and 200 requests/s: what is bad is taken back and says why, what is
good goes live by itself, whatever is killed meanwhile.

Times are printed, never asserted: `make test-cluster ARGS="-s -k evidence --runs 5"` shows how long each took on this machine.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bed import disturbing, trials
from bed.faulty import make_faulty
from bed.flights import MODEL, Flights
from bed.trials import Trial
from bed.versions import NEXT, penstock_rollout

from penstock_operator.model_version import Rollout

pytestmark = pytest.mark.timeout(3 * 3600)
SHADOW = {"fraction": 0.2, "minRequests": 500}
SHORT: dict[str, Any] = {"steps": [50, 100], "margins": {"latencyP99": 1.5}}
"""How a good version goes live in some minutes also on a machine that is busy; with --runs or --steps, by default margins."""
DEFAULT_STEPS = list(Rollout().steps)


@dataclass(frozen=True)
class Fault:
    """A bad bundle, the metric that finds it, words of the sentence that says so, and the rollout."""

    bundle: str
    metric: str
    words: Sequence[str]
    rollout: dict[str, Any] = field(default_factory=dict)


FAULTS = {
    "2 % errors": Fault("refuses", "errorRate", ("requests failed", "points more, over the margin of 0.5")),
    "doubled latency": Fault("slow", "latencyP99", ("latency of", "times as long, over the margin of 1.25")),
    "swapped labels": Fault("swapped", "disagreement", ("gives another label", "over the margin of 5 %"), {"shadow": SHADOW}),
    "shifted scores": Fault("shifted", "outputDrift", ("'s answers (", "over the margin of 15 %")),
}


@pytest.fixture(scope="module")
def tried(served: Flights) -> Flights:
    """The example, served by pods that are old enough to be believed."""
    trials.await_age(served)
    return served


@pytest.fixture(scope="module")
def faulty(tried: Flights) -> dict[str, Path]:
    """The bad bundles. The slow one takes as much longer as a request takes at this rate."""
    with trials.calling(tried) as end:
        time.sleep(20)
        end()
    return make_faulty(tried, trials.median_latency_s(tried))


@pytest.mark.parametrize("what", FAULTS)
def test_a_bad_version_is_taken_back_and_says_why(
    tried: Flights, faulty: dict[str, Path], what: str, pytestconfig: pytest.Config
) -> None:
    fault = FAULTS[what]
    done = [try_fault(tried, faulty, fault, f"{MODEL}-{fault.bundle}-{run}") for run in range(runs(pytestconfig))]
    show(what, done)


def runs(config: pytest.Config) -> int:
    return int(config.getoption("--runs", 1))


def try_fault(served: Flights, faulty: dict[str, Path], fault: Fault, name: str) -> Trial:
    """One rollout of it, taken back for what is wrong with it, before it went a step further than it had to."""
    try:
        trial = trials.run(served, name, faulty[fault.bundle], fault.bundle, **fault.rollout)
        print(trial.describe(), flush=True)
        check_taken_back(served, trial, fault)
    finally:
        forget(served, name)
    return trial


def check_taken_back(served: Flights, trial: Trial, fault: Fault) -> None:
    message = trial.status["message"]
    assert (trial.status["phase"], trial.status["reason"], trial.status["weight"]) == ("RolledBack", "WorseThanMargin", 0), (
        message
    )
    assert trial.tests[fault.metric]["verdict"] == "harmful"
    assert trial.tests[fault.metric]["says"] in message
    assert message.startswith("Rolled back: ")
    assert all(words in message for words in (trial.name, MODEL, *fault.words)), message
    assert message in flat(served.kubectl("describe", "modelversion", trial.name))
    assert message in flat(penstock_rollout(served, "status", trial.name))
    assert not lost(trial)
    if "shadow" in fault.rollout:
        assert not trial.answers
        assert "Canary" not in {moment.stage for moment in trial.moments}
    else:
        assert trial.counted["units"] <= sum(trial.answers["statuses"].values()) + trial.refused()


def lost(trial: Trial) -> list[str]:
    """What became of requests without an answer, but for those whose callers had waited for half a minute."""
    return [text for text in trial.callers["failures"] if not text.startswith("TimeoutError")]


def flat(text: str) -> str:
    """Without line ends, wherever a program has set them."""
    return " ".join(text.split())


def forget(served: Flights, name: str) -> None:
    served.kubectl("delete", "modelversion", name, "--ignore-not-found", "--timeout=180s")


def show(what: str, done: Sequence[Trial]) -> None:
    """What all of them took."""
    took = sorted(trial.took_s for trial in done)
    last = sorted(trial.answers["last"] - trial.begun_at for trial in done if trial.answers)
    print(f"{what}: {len(done)} rollouts, first request to end: median {statistics.median(took):.0f} s, most {took[-1]:.0f} s;"
          f" last answer after {[round(one) for one in last]} s; {[round(one) for one in took]}", flush=True)  # fmt: skip


def test_a_good_version_goes_live_by_itself(tried: Flights, next_bundle: Path, version: str, pytestconfig: pytest.Config) -> None:
    steps = [int(step) for step in (pytestconfig.getoption("--steps", None) or "").split(",") if step]
    rollout = {"steps": steps} if steps else SHORT if runs(pytestconfig) == 1 else {"steps": DEFAULT_STEPS}
    trial = trials.run(tried, version, next_bundle, NEXT, **rollout)
    print(trial.describe(), flush=True)
    show("a good version", [trial])
    assert trial.status["phase"] == "Live", trial.status["message"]
    assert trial.status["message"].startswith(f"Live since {trial.status['liveSince']}: after ")
    assert trial.status["message"] in flat(tried.kubectl("describe", "modelversion", version))
    assert [moment.weight for moment in trial.moments if moment.weight] == [*rollout["steps"], 100]
    assert {test["verdict"] for test in trial.tests.values()} <= {"harmless", "undecided"}
    assert not lost(trial)
    assert not trial.refused()
    assert trial.counted["units"] <= sum(trial.answers["statuses"].values())
    assert version in penstock_rollout(tried, "status", MODEL)


def test_a_good_version_is_compared_with_fresh_pods_of_the_one_before(tried: Flights, next_bundle: Path, version: str) -> None:
    """`baseline: true`: they are there and in the route before its first request, are what it is compared with, and go."""
    beside, found = f"{version}-base", {}

    def look() -> None:
        condition = '--output=jsonpath={.status.conditions[?(@.type=="Baseline")].reason}'
        found["condition"] = tried.kubectl("get", "modelversion", version, condition)
        found["route"] = tried.kubectl("get", "configmap", f"penstock-route-{MODEL}", r"--output=jsonpath={.data.route\.yaml}")
        found["counted"] = [
            entry.requests for pod in trials.look(tried) for one in pod.processes for entry in one.entries if entry.arm
        ]

    steps: dict[str, Any] = {"steps": [25, 100], "margins": {"latencyP99": 1.5}}
    trial = trials.run(tried, version, next_bundle, NEXT, meanwhile=look, baseline=True, **steps)
    print(trial.describe(), found, flush=True)
    assert found["condition"] == "Compared"
    assert f"http://{beside}-predictor.{tried.namespace}:80" in found["route"]
    assert "arm: baseline" in found["route"]
    assert found["counted"]
    assert trial.status["phase"] == "Live", trial.status["message"]
    assert not lost(trial)
    tried.kubectl("wait", "--for=delete", f"inferenceservice/{beside}", "--timeout=60s")


def test_it_ends_the_same_if_operator_and_transformer_are_killed(tried: Flights, faulty: dict[str, Path]) -> None:
    """The one counts nothing twice that the other has told before, and a new transformer begins at nothing."""
    name, fault = f"{MODEL}-killed", FAULTS["2 % errors"]

    def kill() -> None:
        disturbing.disturb(tried, name, "the operator is killed")
        disturbing.disturb(tried, name, "a transformer pod is ended")

    try:
        trial = trials.run(tried, name, faulty[fault.bundle], fault.bundle, meanwhile=kill)
        print(trial.describe(), flush=True)
        check_taken_back(tried, trial, fault)
        assert trial.counted["failed"] <= trial.refused()
    finally:
        forget(tried, name)
        disturbing.settle(tried)
