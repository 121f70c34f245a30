"""What the operator tells transformers of each other, and pods that answer and hear of no route."""

import asyncio

import pytest

from penstock_operator.acknowledgement import Acknowledgement
from penstock_operator.cluster import CONFIG_MAPS
from penstock_operator.looking import Silence, _has_answered
from penstock_operator.pods import read_answer
from penstock_operator.policy import Policy
from penstock_operator.route import ACKNOWLEDGED, read_route_document, route_name
from penstock_operator.seen import Answer, Entry, Pod, Route, Seen
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

ENTRIES = (Entry("sha256:" + "a" * 64, "http://p", 100.0),)


def seen(*revisions: int) -> Seen:
    pods = tuple(Pod(f"p{at}", f"u{at}", answer=Answer(revision)) for at, revision in enumerate(revisions))
    return Seen("default", "flights", 0.0, route=Route("u", "1", 7, ENTRIES), pods=pods)


@pytest.mark.parametrize(
    ("revisions", "most"), [((7,), True), ((7, 7, 6), True), ((7, 6), False), ((7, 7, 6, 6), False), ((), False)]
)
def test_most_are_two_thirds(revisions: tuple[int, ...], most: bool) -> None:
    assert Acknowledgement.of(seen(*revisions), ENTRIES, Policy()).by_most is most
    assert not Acknowledgement.of(seen(*revisions), (), Policy()).by_most, "the route is about to be written anew"


def test_the_configmap_says_which_revision_most_apply() -> None:
    world = World()
    world.add_version("flights-1", "sha256:" + "a" * 64, rollout={"strategy": "immediate"})
    asyncio.run(world.settle())
    document = world.cluster.objects[CONFIG_MAPS.plural, NAMESPACE, route_name(MODEL)]
    route = read_route_document(document)
    assert route.acknowledged == route.revision > 0
    assert document["metadata"]["annotations"][ACKNOWLEDGED] == str(route.revision)


def test_an_error_without_a_revision_is_an_answer() -> None:
    body = {"revision": 3, "model": "m", "applied": ["a"], "error": {"revision": None, "field": "route", "message": "x"}}
    assert read_answer({**body, "confirmed_s": 4.5}) == Answer(3, ("a",), -1, "route: x", 4.5)


def test_a_pod_that_hears_of_no_route_is_silent() -> None:
    clock = [0.0]
    silence = Silence(lambda: clock[0])

    def silent_s(now_s: float, answer: Answer) -> float:
        clock[0] = now_s
        return silence.after("d", "m", {"u": _has_answered(answer)})["u"]

    assert silent_s(0.0, Answer(1, confirmed_s=2.0)) == 0
    assert silent_s(0.0, Answer(1, confirmed_s=60.0)) == 0
    late = Answer(1, confirmed_s=99.0)
    assert silent_s(40.0, late) == 40
    ready = Pod("p", "u", answer=late, silent_s=40.0)
    acknowledged = Acknowledgement.of(Seen("d", "m", 0.0, route=Route("u", "1", 7, ENTRIES), pods=(ready,)), ENTRIES, Policy())
    assert acknowledged.silent == (ready,)
    assert silent_s(41.0, Answer(1, confirmed_s=0.5)) == 0
    assert silent_s(42.0, Answer(0)) == 0, "it goes by its predictor, or by a file"
