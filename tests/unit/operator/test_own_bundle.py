"""Where the route says that the user's own bundle answers."""

from dataclasses import replace

import pytest

from penstock_operator.desired import decide
from penstock_operator.policy import Policy
from penstock_operator.roles import find_roles
from penstock_operator.route import own_address, read_route_document, route_document, wanted_entries
from penstock_operator.seen import InferenceService, Seen

OWN = "sha256:" + "d" * 64
SERVICE = InferenceService("flights", "u", "1", routes=True, ready=True)
APART, TOGETHER = "http://flights-predictor.shop:80", "http://127.0.0.1:8085"


def seen(*, collocated: bool, held: int = 2) -> Seen:
    return Seen("shop", "flights", 0.0, service=SERVICE, held=((OWN, held),) if held else (), collocated=collocated)


@pytest.mark.parametrize(("collocated", "address"), [(False, APART), (True, TOGETHER)])
def test_one_that_shares_its_pods_with_transformers_is_reached_in_the_pod(collocated: bool, address: str) -> None:
    """The Service of such pods leads to their transformers, which take no tensors that are encoded already."""
    found = seen(collocated=collocated)
    assert own_address(found) == address
    entries = wanted_entries(found, find_roles((), users_own=True))
    assert [(entry.predictor, entry.digest, entry.weight) for entry in entries] == [(address, OWN, 100.0)]


@pytest.mark.parametrize("collocated", [False, True])
def test_its_digest_is_known_from_the_route_while_no_pod_says_it(collocated: bool) -> None:
    entries = wanted_entries(seen(collocated=collocated), find_roles((), users_own=True))
    route = read_route_document(route_document(seen(collocated=collocated), 7, entries, made_service=False, acknowledged=0))
    plan = decide(replace(seen(collocated=collocated, held=0), route=route), Policy())
    assert not any(operation.kind.plural == "configmaps" for operation in plan.operations)
