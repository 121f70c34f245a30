"""Faults in the middle of a rollout under load: each ends where an undisturbed run would have ended, and no request fails; but
those that a transformer held which was killed and not ended.

At half of the requests something is killed, broken or deleted; then the version is promoted, and has to come Live.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bed import chart
from bed.disturbing import settle
from bed.flights import MODEL, RECORD, Flights
from bed.underway import load
from bed.versions import check_load, manifest, penstock_rollout, wait_for, wait_live

AT_ONCE = ("--grace-period=0", "--force")
GONE_S = 60.0
"""By then its address is nowhere any more."""
ROUTE = f"penstock-route-{MODEL}"
Fault = Callable[[Flights, str], None]


def first_pod(served: Flights, service: str, component: str) -> str:
    selector = f"--selector=serving.kserve.io/inferenceservice={service},component={component}"
    return served.kubectl("get", "pods", selector, "--output=name").split()[0]


def kill_the_operator(served: Flights, _: str) -> None:
    selector = "--selector=app.kubernetes.io/component=operator"
    served.cluster.kubectl("--namespace", chart.NAMESPACE, "delete", "pods", selector, *AT_ONCE)


def kill_a_predictor_of_the_new_one(served: Flights, version: str) -> None:
    """One of two: with none left the version's share of requests would be refused until another is up."""
    served.kubectl("delete", first_pod(served, version, "predictor"), *AT_ONCE)


def kill_a_predictor_of_the_old_one(served: Flights, _: str) -> None:
    served.kubectl("delete", first_pod(served, MODEL, "predictor"), *AT_ONCE)


def end_a_transformer(served: Flights, _: str) -> None:
    served.kubectl("delete", first_pod(served, MODEL, "transformer"), "--wait=false")


def kill_a_transformer(served: Flights, _: str) -> None:
    served.kubectl("delete", first_pod(served, MODEL, "transformer"), *AT_ONCE)


def break_the_route(served: Flights, _: str) -> None:
    served.kubectl("patch", "configmap", ROUTE, "--type=merge", '--patch={"data": {"route.yaml": "not: [a, route"}}')


def delete_the_route(served: Flights, _: str) -> None:
    served.kubectl("delete", "configmap", ROUTE)


@pytest.mark.parametrize(
    "fault",
    [
        kill_the_operator,
        kill_a_predictor_of_the_new_one,
        kill_a_predictor_of_the_old_one,
        end_a_transformer,
        break_the_route,
        delete_the_route,
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_rollout_ends_as_if_nothing_had_happened(served: Flights, next_bundle: Path, version: str, fault: Fault) -> None:
    check_load(served, next_bundle, roll_out(served, next_bundle, version, fault))


def roll_out(served: Flights, next_bundle: Path, version: str, fault: Fault) -> dict[str, Any]:
    """There and back with the fault in the middle; what became of the load."""
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(manifest(version, next_bundle, replicas=2, strategy="manual", steps=[50, 100]))
        wait_for(served, version, "reason", "AwaitingPromotion")
        penstock_rollout(served, "promote", version, "--to", "50")
        wait_for(served, version, "weight", "50")
        fault(served, version)
        penstock_rollout(served, "promote", version, "--to", "100")
        wait_live(served, version)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        return end()


def test_a_transformer_that_is_killed_breaks_what_it_holds_and_no_more(served: Flights, next_bundle: Path, version: str) -> None:
    """Its connections end without an answer, which no other pod can give; whoever asks again is answered, as the version says."""
    settle(served)
    killed_at: list[float] = []

    def kill(place: Flights, name: str) -> None:
        killed_at.append(time.time())
        kill_a_transformer(place, name)

    result = roll_out(served, next_bundle, version, kill)
    broken = [float(text.partition(" ")[0]) - killed_at[0] for text in result["failures"]]
    print(f"{len(broken)} of {sum(result['statuses'].values())} requests broke off")
    assert all(0.0 <= after < GONE_S for after in broken)
    check_load(served, next_bundle, {**result, "failures": []})
    settle(served)
