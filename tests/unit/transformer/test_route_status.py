"""What is acknowledged, and when a pod that lags is not ready: only behind what most others apply."""

import pytest

from penstock.errors import InvalidInput
from penstock_transformer.route.configmap import KEY, MOST_APPLY, ConfigMapState, seen_of
from penstock_transformer.route.status import RouteFault, RouteStatus, merged
from penstock_transformer.route.succession import Accepted, check_succession
from penstock_transformer.route_file import RouteEntry, RouteSpec


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def status(clock):
    return RouteStatus("flights", lag_s=10, clock=clock)


def test_nothing_is_known_at_first(status):
    assert status.answer(None) == {
        "revision": 0, "model": "flights", "applied": [], "error": None, "confirmed_s": None, "source": "",
    }  # fmt: skip


def test_a_pod_is_unready_once_it_is_behind_most_others_for_ten_seconds(status, clock):
    status.applied(4)
    status.error = RouteFault(5, "bundles", "cannot be had")
    clock.now += 1000
    assert status.lag() is None, "that a route cannot be applied is no reason by itself"
    status.most_apply(5)
    clock.now += 9.9
    assert status.lag() is None
    status.most_apply(6)
    clock.now += 0.2
    assert status.lag() == "most pods apply revision 6 of the route, this one 4"
    status.applied(5)
    assert status.lag() is not None, "still behind, and has been all the while"
    status.applied(6)
    assert status.lag() is None
    status.most_apply(0)
    clock.now += 1000
    assert status.lag() is None


def test_lagging_can_have_no_consequence(clock):
    status = RouteStatus("flights", lag_s=0, clock=clock)
    status.most_apply(5)
    clock.now += 1000
    assert status.lag() is None


def test_silence_is_told_in_seconds(status, clock):
    status.confirmed()
    clock.now += 1.5
    assert status.answer(None)["confirmed_s"] == 1.5


def test_of_several_processes_the_one_that_is_least_far_answers():
    def one(revision, confirmed_s, error=None):
        return {"revision": revision, "model": "m", "applied": [str(revision)], "error": error, "confirmed_s": confirmed_s}

    fault = {"revision": 3, "field": "x", "message": "y"}
    told = merged([one(3, 1.0), one(2, 2.0), one(3, 0.5, fault)])
    assert told == one(2, 2.0, fault)
    assert merged([one(3, 1.0), one(2, None)])["confirmed_s"] is None


def spec(revision, weight=1.0):
    return RouteSpec(revision, "m", (RouteEntry("sha256:" + "a" * 64, "http://p", weight),))


@pytest.mark.parametrize(
    ("uid", "after", "good"),
    [
        ("u", spec(6), True),
        ("u", spec(5), True),
        ("u", spec(5, 2.0), False),
        ("u", spec(4), False),
        ("v", spec(1), True),
        ("v", spec(5, 2.0), True),
    ],
)
def test_succession(uid, after, good):
    check_succession(None, uid, after)
    before = Accepted("u", spec(5), "")
    if good:
        check_succession(before, uid, after)
        return
    with pytest.raises(InvalidInput) as caught:
        check_succession(before, uid, after)
    assert caught.value.field == "revision"


def item(version="7", *, name="r", text="x", **metadata):
    return {"metadata": {"name": name, "uid": "u", "resourceVersion": version, **metadata}, "data": {KEY: text}}


def test_a_configmap_as_its_events_tell_it():
    state = ConfigMapState("r")
    assert not state.known
    state.replace({"metadata": {"resourceVersion": "9"}, "items": [item(name="other"), item()]})
    assert (state.known, state.seen.text, state.version) == (True, "x", "9")
    assert state.apply({"type": "MODIFIED", "object": item("10", text="y")})
    assert (state.seen.text, state.version) == ("y", "10")
    assert state.apply({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "20"}}})
    assert (state.seen.text, state.version) == ("y", "20")
    assert state.take(seen_of(item("30", text="z")))
    assert not state.take(seen_of(item("30", text="z")))
    assert state.apply({"type": "MODIFIED", "object": item("21", text="older")}), "the watch goes on"
    assert (state.seen.text, state.version) == ("z", "21")
    assert state.apply({"type": "DELETED", "object": item("31")})
    assert state.seen is None
    assert not state.apply({"type": "ERROR", "object": {"code": 410}})
    state.replace({"metadata": {"resourceVersion": "5"}, "items": [item("4", text="restored")]})
    assert state.seen.text == "restored", "an etcd that was put back counts from where it was then"


@pytest.mark.parametrize(("given", "found"), [("7", 7), ("", 0), ("-1", 0), ("x", 0), ("9" * 17, 0), ("٣", 0)])
def test_the_revision_that_most_apply(given, found):
    assert seen_of(item(annotations={MOST_APPLY: given})).most_apply == found
    assert seen_of(item(annotations=None)).most_apply == 0
