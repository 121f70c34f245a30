"""Faults in the middle of a rollout under load: each ends where an undisturbed run would have ended, and no request fails.

At half of the requests something is killed, broken or deleted; then the version is promoted, and has to come Live.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from bed import chart
from bed.flights import MODEL, RECORD, Flights
from bed.underway import load
from bed.versions import check_load, manifest, penstock_rollout, wait_for, wait_live

AT_ONCE = ("--grace-period=0", "--force")
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
        result = end()
    check_load(served, next_bundle, result)
