"""The operator killed after every single call that it makes, at random, and two of them at once, under load: each run ends where
an undisturbed one does, and no request fails.

The operator runs beside the cluster here, since the kubelet would wait for minutes before it starts again what dies so often.
"""

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed.beside import BesideOperators
from bed.disturbing import settle
from bed.flights import RECORD, Flights
from bed.underway import load_beside
from bed.versions import check_load, manifest, penstock_rollout, wait_for, wait_live

pytestmark = pytest.mark.timeout(3600)
KILLS = 50
PATIENCE_S = 600.0
LIFE_S = (0.2, 6.0)
"""How long one that is killed at random lives: it needs a second or more to begin."""
STEPS: dict[str, Any] = {"strategy": "manual", "steps": [50, 100]}


@pytest.fixture
def operators(served: Flights) -> Iterator[BesideOperators]:
    if served.cluster.kind != "own":
        pytest.skip("a program of this machine reaches pods of our own cluster only: PENSTOCK_CLUSTER=own")
    settle(served)
    with BesideOperators(served) as beside:
        yield beside


def status(served: Flights, version: str) -> dict[str, Any]:
    """Its status; empty if it has none, or is gone."""
    shown = served.kubectl("get", "modelversion", version, "--ignore-not-found", "--output=json")
    found: dict[str, Any] = json.loads(shown).get("status", {}) if shown else {}
    return found


def lives(served: Flights, version: str, next_bundle: Path) -> Iterator[Callable[[], bool]]:
    """A version's whole life: each step is begun when it is asked for, and what it gives says whether it is over."""
    served.apply(manifest(version, next_bundle, replicas=2, **STEPS))
    yield lambda: status(served, version).get("reason") == "AwaitingPromotion"
    penstock_rollout(served, "promote", version, "--to", "100")
    yield lambda: status(served, version).get("phase") == "Live"
    penstock_rollout(served, "rollback", version)
    yield lambda: status(served, version).get("phase") == "RolledBack" and not is_there(served, version)
    served.kubectl("delete", "modelversion", version, "--wait=false")
    yield lambda: not served.kubectl("get", "modelversion", version, "--ignore-not-found", "--output=name")


def is_there(served: Flights, version: str) -> bool:
    """Whether its InferenceService is."""
    return served.cluster.succeeds("--namespace", served.namespace, "get", "inferenceservice", version)


def killed_by_itself(operator: "subprocess.Popen[bytes]", within_s: float) -> bool:
    try:
        return operator.wait(within_s) == -signal.SIGKILL
    except subprocess.TimeoutExpired:
        return False


def test_killed_after_every_single_call(served: Flights, operators: BesideOperators, next_bundle: Path, version: str) -> None:
    """Each makes one call and dies, from the first call of a version's life to the last: so many there are."""
    kills = 0
    with load_beside(served, f"/predict/{RECORD}") as end:
        for is_over in lives(served, version, next_bundle):
            operator = operators.start(failpoints="operator.called=kill@1")
            until = time.monotonic() + PATIENCE_S
            while not is_over():
                assert time.monotonic() < until, status(served, version)
                if killed_by_itself(operator, 1.0):
                    kills += 1
                    operator = operators.start(failpoints="operator.called=kill@1")
            operator.kill()
        result = end()
    print(f"killed after each of {kills} calls")
    assert kills > 20
    check_load(served, next_bundle, result)


def test_killed_fifty_times_at_random(served: Flights, operators: BesideOperators, next_bundle: Path, version: str) -> None:
    chance, kills, rounds = random.Random(6), 0, 0
    with load_beside(served, f"/predict/{RECORD}") as end:
        while kills < KILLS:
            rounds += 1
            for is_over in lives(served, f"{version}-{rounds}", next_bundle):
                until = time.monotonic() + PATIENCE_S
                while not is_over():
                    assert time.monotonic() < until, status(served, f"{version}-{rounds}")
                    # Once there were enough, they live.
                    operator = operators.start()
                    if not killed_by_itself(operator, chance.uniform(*LIFE_S) if kills < KILLS else 20.0):
                        operator.kill()
                        operator.wait()
                    kills += 1
        result = end()
    print(f"killed {kills} times in {rounds} lives of a version")
    check_load(served, next_bundle, result)


def test_two_of_which_the_leader_stands_still(
    served: Flights, operators: BesideOperators, next_bundle: Path, version: str
) -> None:
    with load_beside(served, f"/predict/{RECORD}") as end:
        first = operators.start(identity="one")
        served.apply(manifest(version, next_bundle, replicas=2, **STEPS))
        wait_for(served, version, "reason", "AwaitingPromotion")
        operators.start(identity="two")
        first.send_signal(signal.SIGSTOP)
        penstock_rollout(served, "promote", version, "--to", "100")
        wait_live(served, version)
        first.send_signal(signal.SIGCONT)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        result = end()
    check_load(served, next_bundle, result)


def test_two_that_both_act_do_no_harm(served: Flights, operators: BesideOperators, next_bundle: Path, version: str) -> None:
    """As if the lease had failed: what each writes names what it saw."""
    with load_beside(served, f"/predict/{RECORD}") as end:
        for name in ("one", "two"):
            operators.start(f"--lease_name={name}", identity=name)
        served.apply(manifest(version, next_bundle, replicas=2, strategy="immediate"))
        wait_live(served, version)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        result = end()
    check_load(served, next_bundle, result)
