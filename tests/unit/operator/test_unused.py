"""Nothing is retired that a transformer may still send to: what counts as unused, and what never does."""

import asyncio
from dataclasses import replace

import pytest

from penstock_operator.acknowledgement import is_unused
from penstock_operator.policy import Policy
from penstock_operator.route import predictor_address
from penstock_operator.seen import Answer, Entry, Pod, Route, Seen
from penstock_operator.simulation.watched_cluster import MODEL
from penstock_operator.simulation.world import World

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
WAS, IS = predictor_address("flights-1", "n"), predictor_address("flights-2", "n")
ROUTE = Route("u", "9", 5, (Entry(NEW, IS, 100.0, None, "flights-2"),))
DONE = Pod("one", "1", answer=Answer(5, (NEW,)))


def unused(*pods: Pod, route: Route | None = ROUTE) -> bool:
    """Whether flights-1 is, which was in the route before."""
    return is_unused(Seen("n", "flights", 0.0, route=route, pods=pods), WAS, OLD, Policy(unready_s=60.0))


def test_out_of_the_route_and_every_pod_says_so() -> None:
    assert unused(DONE, replace(DONE, name="two", uid="2"))
    assert unused()


@pytest.mark.parametrize(
    "pod",
    [
        Pod("two", "2"),
        Pod("two", "2", answer=Answer(4, (OLD, NEW))),
        Pod("two", "2", answer=Answer(4, (NEW,))),
        Pod("two", "2", answer=Answer(6, (NEW,))),
        Pod("two", "2", answer=Answer(5, (OLD, NEW))),
        Pod("two", "2", ready=False, deleting=True, answer=Answer(4, (OLD,))),
        Pod("two", "2", ready=False, deleting=True, unready_s=600.0),
        Pod("two", "2", ready=False, unready_s=59.0),
        Pod("two", "2", ready=False, unready_s=600.0, answer=Answer(4, (OLD,))),
    ],
    ids=[
        "silent",
        "behind",
        "behind, though it says that it is not applied",
        "by a route that nobody has seen",
        "it says that it is applied",
        "going, and behind",
        "going, and silent: it finishes requests",
        "not ready for a moment",
        "not ready for long, but it answers",
    ],
)
def test_one_pod_that_may_send_is_enough(pod: Pod) -> None:
    assert not unused(DONE, pod)


@pytest.mark.parametrize("pod", [Pod("two", "2", running=False), Pod("two", "2", ready=False, unready_s=60.0)])
def test_what_is_gone_or_gets_no_requests_is_not_waited_for(pod: Pod) -> None:
    assert unused(DONE, pod)


def test_what_the_route_names_or_might_name_is_in_use() -> None:
    assert not unused(DONE, route=replace(ROUTE, entries=(*(ROUTE.entries or ()), Entry(OLD, WAS, 0.0))))
    assert not unused(DONE, route=replace(ROUTE, entries=None))


def test_a_digest_that_another_entry_has_says_nothing_of_this_one() -> None:
    route = replace(ROUTE, entries=(Entry(OLD, IS, 100.0),))
    assert unused(Pod("one", "1", answer=Answer(5, (OLD,))), route=route)


@pytest.mark.parametrize(("revision", "follows"), [(0, True), (4, False)])
def test_without_a_route_who_follows_the_users_own_predictor_sends_nowhere_else(revision: int, follows: bool) -> None:
    """Whatever else holds the same bundle; who has applied a route goes by it still."""
    assert unused(Pod("one", "1", answer=Answer(revision, (OLD,))), route=None) == follows


@pytest.mark.parametrize("how", ["silent", "behind"])
def test_a_kept_versions_pods_stay_for_a_transformer_that_may_send_there(how: str) -> None:
    """Long after its time, through many looks, until the pod has caught up."""
    world = World()
    for name in ("flights-1", "flights-2"):
        world.add_version(name, "sha256:" + name[-1] * 64, rollout={"strategy": "immediate"})
        asyncio.run(world.settle())
    slow = next(iter(world.transformers.values()))
    world.now += 3601
    slow.deaf = how == "silent"
    for _ in range(12):
        asyncio.run(world.operate())
        for at, transformer in enumerate(world.transformers.values()):
            if transformer is not slow:
                world.apply_route(at)
        assert "flights-1" in world.services()
    slow.deaf = False
    asyncio.run(world.settle())
    assert world.services() == {MODEL, "flights-2"}
