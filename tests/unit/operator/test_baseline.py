"""A trial with a baseline in memory: fresh pods of the version before, their part of the route, and how they come and go."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from penstock.evidence.document import Entry, Evidence, Latency, Process
from penstock_operator.baseline import ARM, MOST
from penstock_operator.cluster import CONFIG_MAPS, INFERENCE_SERVICES, MODEL_VERSIONS
from penstock_operator.judgement import LOOK_S
from penstock_operator.route import route_name
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

OLD, NEW, OTHER = ("sha256:" + letter * 64 for letter in "abc")
BASE = "flights-2-base"
STEPS = [5, 25, 50, 100]
"""Two that have a baseline, and two that have none."""
RATE = 200
FAST, SLOW = ({start + number: 0.3 * 0.7**number for number in range(20)} for start in (60, 66))
"""The part of requests in each bin of latency; six bins are 1.7 times as long."""


class Holding(World):
    """KServe has no room for the pods of `held`."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()

    def _add_predictor_pod(self, name: str, service: Any) -> bool:
        return False if name in self.held else super()._add_predictor_pod(name, service)


class Traffic:
    """What one transformer counts of each entry of the route. `latency`: by entry, of all others as FAST; `failing` likewise."""

    def __init__(self, world: World, *, failing: Mapping[str, float] | None = None, slow: set[str] | None = None) -> None:
        self.world, self.failing, self.slow = world, dict(failing or {}), slow or set()
        self.process = Process("one", 3600.0)
        world.told = [Evidence("flights", [self.process])]
        self._entries: dict[tuple[str, int], Entry] = {}

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / LOOK_S)):
            for name, (weight, fraction) in self.world.route().items():
                self._add(name, round(LOOK_S * RATE * (weight / 100 if fraction is None else fraction)), fraction is not None)
            self.process.entries = list(self._entries.values())
            self.world.now += LOOK_S
            asyncio.run(self.world.settle())

    def _add(self, name: str, count: int, shadow: bool) -> None:
        revision = self.world.route_revision()
        digest, arm = NEW if name == "flights-2" else OLD, ARM if name == BASE else ""
        entry = self._entries.setdefault((name, revision), Entry(digest, revision, shadow, arm=arm))
        entry.requests, entry.rows, entry.keys = (number + count for number in (entry.requests, entry.rows, entry.keys))
        entry.failed_keys = {"internal": round(entry.keys * self.failing.get(name, 0.0))}
        spread = SLOW if name in self.slow else FAST
        latency = [(number, round(entry.requests * part)) for number, part in spread.items()]
        entry.latency = Latency(latency, latency)


def begin(*, own: bool = False, held: bool = False, replicas: int = 2, **rollout: Any) -> Holding:
    world = Holding()
    if own:
        world.apply_service(OLD)
    else:
        world.add_version("flights-1", OLD, rollout={"strategy": "immediate"}, runtime={"resources": {"limits": {"cpu": "2"}}})
    asyncio.run(world.settle())
    world.held = {BASE} if held else set()
    given = {"min": replicas, "max": 4}
    world.add_version("flights-2", NEW, rollout={"baseline": True, "steps": STEPS, **rollout}, runtime={"replicas": given})
    asyncio.run(world.settle())
    return world


def stands(world: World) -> tuple[Any, ...]:
    status = world.status("flights-2")
    return status["stage"], status["weight"], status["reason"]


def compared(world: World) -> tuple[str, str]:
    """The condition's status and reason."""
    (found,) = [one for one in world.status("flights-2")["conditions"] if one["type"] == "Baseline"]
    return found["status"], found["reason"]


@pytest.mark.parametrize("own", [False, True])
def test_both_arms_have_as_many_requests_and_pods(own: bool) -> None:
    world = begin(own=own)
    before = MODEL if own else "flights-1"
    assert stands(world)[:2] == ("Canary", 5)
    assert world.route() == {before: (90, None), "flights-2": (5, None), BASE: (5, None)}
    assert compared(world) == ("True", "Compared")
    service = world.cluster.objects[INFERENCE_SERVICES.plural, NAMESPACE, BASE]
    predictor = service["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 4)
    assert predictor["model"]["storageUri"] == ("pvc://bundles/own" if own else "pvc://bundles/flights-1")
    # What it would be without its own resources is no version that anybody had.
    assert own or predictor["model"]["resources"] == {"limits": {"cpu": "2"}}
    assert [owner["name"] for owner in service["metadata"]["ownerReferences"]] == ["flights-2"]


def test_a_trial_that_did_not_ask_has_none() -> None:
    world = begin(baseline=False)
    assert world.route() == {"flights-1": (95, None), "flights-2": (5, None)}
    assert BASE not in world.services()
    assert "Baseline" not in [one["type"] for one in world.status("flights-2")["conditions"]]


def test_fresh_pods_that_are_slow_take_back_no_version_that_is_as_slow() -> None:
    """The very thing that it is for: both arms' pods are slow, the stable version's are not."""
    unfair, fair = begin(baseline=False), begin()
    slow = {"flights-2", BASE}
    Traffic(unfair, slow=slow).run(120)
    Traffic(fair, slow=slow).run(120)
    assert stands(unfair)[2] == "WorseThanMargin"
    assert stands(fair)[2] == "Undecided"


def test_a_version_that_is_slower_than_its_baseline_is_taken_back() -> None:
    world = begin()
    Traffic(world, slow={"flights-2"}).run(120)
    assert stands(world) == ("RolledBack", 0, "WorseThanMargin")
    assert "longer" in (message := world.status("flights-2")["message"]) or "as long" in message
    assert world.route() == {"flights-1": (100, None)}
    assert world.services() == {MODEL, "flights-1"}


def test_what_only_the_other_pods_do_is_in_neither_arm() -> None:
    world = begin()
    Traffic(world, failing={"flights-1": 0.5}).run(2 * LOOK_S)
    document = world.status("flights-2")["evidence"]["analysis"]
    # The transformer's first look is at sums that are old already; then 60 requests of each arm a look.
    assert document["candidate"]["units"] == document["baseline"]["units"] > 0
    assert document["baseline"]["failed"] == 0


def test_a_good_version_goes_live_and_leaves_no_baseline_behind() -> None:
    world = begin()
    traffic, seen = Traffic(world), {}
    while stands(world)[0] != "Live" and world.now < 1_000_000 + 7200:
        traffic.run(LOOK_S)
        seen[stands(world)[1]] = world.route().get(BASE)
        if stands(world)[1] > MOST:
            assert BASE not in world.services()
    assert stands(world)[:2] == ("Live", 100), world.status("flights-2")["message"]
    assert seen == {5: (5, None), 25: (25, None), 50: None, 100: None}
    assert "baseline" not in world.status("flights-2")


def test_it_waits_for_the_pods_before_its_first_step() -> None:
    world = begin(held=True)
    assert stands(world) == ("Joining", 0, "StartingBaseline")
    assert world.status("flights-2")["message"] == "0 of 2 pods are ready"
    assert compared(world) == ("False", "BaselineNotReady")
    assert world.route() == {"flights-1": (100, None), "flights-2": (0, None)}
    world.held = set()
    asyncio.run(world.settle())
    assert stands(world)[:2] == ("Canary", 5)
    assert world.route()[BASE] == (5, None)


def test_after_the_longest_time_it_goes_on_without_and_says_so() -> None:
    world = begin(held=True, maxDuration="10m")
    world.now += 601
    asyncio.run(world.settle())
    assert stands(world)[:2] == ("Canary", 5)
    assert compared(world) == ("False", "BaselineTimedOut")
    assert world.route() == {"flights-1": (95, None), "flights-2": (5, None)}
    assert BASE not in world.services()
    world.held = set()
    asyncio.run(world.settle())
    assert BASE not in world.services()


def test_promotion_by_hand_over_all_steps_that_have_one_does_not_wait_for_it() -> None:
    world = begin(held=True)
    world.annotate("flights-2", promote="25")
    asyncio.run(world.settle())
    assert stands(world)[2] == "StartingBaseline"
    world.annotate("flights-2", promote="50")
    for _ in range(50):
        asyncio.run(world.operate())
        world.apply_route()
        if stands(world)[:2] == ("Canary", 5):
            assert compared(world) == ("False", "SteppedWithout")
            break
    asyncio.run(world.settle())
    assert stands(world)[:2] == ("Canary", 50)
    assert compared(world) == ("False", "LargeStep")
    assert BASE not in world.services()


def test_promoted_past_pods_that_are_gone_its_first_step_has_none() -> None:
    """They were ready, and went before they came into the route."""
    world = begin(held=True)
    world.held = set()
    for _ in range(5):
        world.make_pods()
    asyncio.run(world.operate())
    assert world.status("flights-2")["baseline"] == OLD
    world.remove(INFERENCE_SERVICES, NAMESPACE, BASE)
    world.collect()
    world.annotate("flights-2", promote="100")
    for _ in range(20):
        asyncio.run(world.operate())
        world.apply_route()
        assert BASE not in world.route()
    assert stands(world)[0] == "Live"


def test_paused_before_its_first_step_its_pods_wait_beside_the_route() -> None:
    world = begin(held=True)
    world.annotate("flights-2", paused="true")
    world.held = set()
    asyncio.run(world.settle())
    assert stands(world) == ("Joining", 0, "Paused")
    assert BASE in world.services()
    assert BASE not in world.route()
    world.annotate("flights-2", paused=None)
    asyncio.run(world.settle())
    assert stands(world)[:2] == ("Canary", 5)
    assert world.route()[BASE] == (5, None)


def test_rolled_back_before_any_transformer_heard_of_the_route_its_baseline_goes() -> None:
    """Nobody has a route any more: the transformers follow the user's own predictor, whose bundle the baseline holds too."""
    world = World()
    world.apply_service(OLD)
    world.add_version("flights-2", NEW, rollout={"baseline": True})
    for _ in range(10):
        asyncio.run(world.round())
    assert BASE in world.services()
    world.remove(CONFIG_MAPS, NAMESPACE, route_name(MODEL))
    world.annotate("flights-2", rollback="no")
    asyncio.run(world.settle())
    assert world.services() == {MODEL}


def test_a_first_step_that_is_large_needs_none() -> None:
    world = begin(steps=[50, 100])
    assert compared(world) == ("False", "LargeStep")
    assert BASE not in world.services()


def test_a_shadow_does_not_wait_for_it() -> None:
    world = begin(held=True, shadow={"fraction": 0.5, "minRequests": 10})
    assert stands(world)[0] == "Shadow"
    world.held = set()
    asyncio.run(world.settle())
    assert world.route() == {"flights-1": (100, None), "flights-2": (0, 0.5), BASE: (0, None)}


def test_older_transformers_refuse_the_arm_and_the_trial_goes_on_without_it() -> None:
    world = Holding()
    world.add_version("flights-1", OLD, rollout={"strategy": "immediate"})
    asyncio.run(world.settle())
    next(iter(world.transformers.values())).older = True
    world.add_version("flights-2", NEW, rollout={"baseline": True, "steps": STEPS})
    asyncio.run(world.settle())
    assert stands(world)[:2] == ("Joining", 0)
    world.now += 61
    asyncio.run(world.settle())
    assert stands(world)[:2] == ("Canary", 5)
    assert compared(world) == ("False", "RouteRefused")
    assert world.route() == {"flights-1": (95, None), "flights-2": (5, None)}
    assert BASE not in world.services()


def test_a_transformer_that_refuses_the_arm_later_ends_it_and_the_step_counts_anew() -> None:
    world = begin()
    traffic = Traffic(world)
    traffic.run(10 * LOOK_S)
    before = world.route_revision()
    assert stands(world)[:2] == ("Canary", 5)
    memory = world.status("flights-2")["evidence"]
    assert (memory["arm"], memory["revision"]) == (ARM, before)
    # An older one comes up, and would never be ready; somebody else writes the route anew meanwhile.
    next(iter(world.transformers.values())).older = True
    world.remove(CONFIG_MAPS, NAMESPACE, route_name(MODEL))
    traffic.run(10 * LOOK_S)
    assert stands(world)[:2] == ("Canary", 5)
    assert compared(world) == ("False", "RouteRefused")
    assert world.route() == {"flights-1": (95, None), "flights-2": (5, None)}
    memory = world.status("flights-2")["evidence"]
    assert "arm" not in memory
    assert memory["revision"] == world.route_revision() > before
    units = [memory["analysis"][arm]["units"] for arm in ("candidate", "baseline")]
    assert units[1] == 19 * units[0] > 0


def test_a_trial_whose_version_before_changes_goes_on_without() -> None:
    world = begin()
    world.add_version("flights-0", OTHER, rollout={"strategy": "immediate"})
    world.apply_service(OTHER)
    asyncio.run(world.settle())
    world.annotate("flights-1", rollback="worse than the one before")
    asyncio.run(world.settle())
    assert BASE not in world.route()
    assert BASE not in world.services()
    assert compared(world)[0] == "False"


def test_somebody_elses_inference_service_of_its_name_is_left_alone() -> None:
    world = Holding()
    world.add_version("flights-1", OLD, rollout={"strategy": "immediate"})
    theirs = {
        "metadata": {"name": BASE, "namespace": NAMESPACE, "labels": {"penstock.dev/model": MODEL}},
        "spec": {"predictor": {}},
    }
    world.cluster.put(INFERENCE_SERVICES, theirs)
    asyncio.run(world.settle())
    world.add_version("flights-2", NEW, rollout={"baseline": True})
    asyncio.run(world.settle())
    assert stands(world)[2] == "StartingBaseline"
    assert "is not this version's" in world.status("flights-2")["message"]
    world.annotate("flights-2", rollback="no")
    asyncio.run(world.settle())
    assert BASE in world.services()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("ending", ["rollback", "delete", "supersede", "not asked"])
def test_however_a_trial_ends_its_baseline_goes(own: bool, ending: str) -> None:
    world = begin(own=own)

    async def end() -> None:
        match ending:
            case "rollback":
                world.annotate("flights-2", rollback="no")
            case "delete":
                await world.delete_version("flights-2")
            case "supersede":
                world.add_version("flights-3", OTHER, rollout={"strategy": "manual"})
            case "not asked":
                key = (MODEL_VERSIONS.plural, NAMESPACE, "flights-2")
                document = world.cluster.objects[key]
                spec = {**document["spec"], "rollout": {}}
                world.cluster.put(MODEL_VERSIONS, {**document, "spec": spec})
        await world.settle()

    asyncio.run(end())
    assert BASE not in world.route()
    assert BASE not in world.services()
    assert ending != "not asked" or stands(world)[:2] == ("Canary", 5)
