"""Rollouts by evidence in memory: transformers tell sums, the operator steps or takes back, and remembers only in the status."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from penstock.evidence.document import Bins, Entry, Evidence, Histogram, Latency, Paired, Process, Training
from penstock.evidence.ledger import Ledger
from penstock.evidence.quality import LogQuality, QualityDocument, QualityEntry, QualitySums, Units
from penstock_operator.cluster import INFERENCE_SERVICES, MODEL_VERSIONS
from penstock_operator.judgement import LOOK_S, Memory
from penstock_operator.ledger_text import read_ledger, write_ledger
from penstock_operator.simulation.watched_cluster import NAMESPACE
from penstock_operator.simulation.world import World

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
RATE = 200
"""Requests a second, each with a key of its own."""
SPREAD = {60 + number: 0.3 * 0.7**number for number in range(20)}
"""The part of requests in each bin of latency."""
LABELS = Bins(values=("late", "on time"))


class Traffic:
    """What one transformer counts of what the route sends to each bundle. `failing`: the part that fails, by bundle."""

    def __init__(self, world: World, failing: Mapping[str, float] | None = None) -> None:
        self.world = world
        self.late: float | None = None
        self.failing = dict(failing or {})
        self.restart("one")

    def restart(self, incarnation: str) -> None:
        """Its process dies and another one begins at nothing."""
        self.process = Process(incarnation, 3600.0)
        self.world.told = [Evidence("flights", [self.process])]
        self._entries: dict[tuple[str, int, bool], Entry] = {}

    def run(self, seconds: float) -> None:
        """So many seconds of requests, and the operator's looks meanwhile."""
        for _ in range(int(seconds / LOOK_S)):
            self.come(LOOK_S)
            self.world.now += LOOK_S
            asyncio.run(self.world.settle())

    def come(self, seconds: float) -> None:
        """So many seconds of requests, of which nobody asks."""
        requests = int(seconds * RATE)
        self.process.age_s += seconds
        for name, (weight, fraction) in self.world.route().items():
            digest = NEW if name == "flights-2" else OLD
            share = weight / 100 if fraction is None else fraction
            self._add(digest, round(requests * share), shadow=fraction is not None)
        self.process.entries = list(self._entries.values())

    def _add(self, digest: str, count: int, *, shadow: bool) -> None:
        revision = self.world.route_revision()
        entry = self._entries.setdefault((digest, revision, shadow), Entry(digest, revision, shadow))
        failed = round(count * self.failing.get(digest, 0.0))
        entry.requests, entry.rows, entry.keys = entry.requests + count, entry.rows + count, entry.keys + count
        entry.failed_keys = {"internal": sum(entry.failed_keys.values()) + failed}
        entry.errors = dict(entry.failed_keys)
        total = entry.requests
        latency = [(number, round(total * part)) for number, part in SPREAD.items()]
        entry.latency = Latency(latency, latency)
        if self.late is not None:
            late = round(total * self.late)
            entry.outputs = {"label": Histogram(LABELS, [late, total - late, 0, 0], Training(LABELS, (200, 1800, 0, 0)))}
        if shadow:
            entry.paired = Paired(requests=total, agreeing=total, latency_ratios=[(80, total)])


def begun(rollout: Mapping[str, Any] | None = None, failing: Mapping[str, float] | None = None) -> tuple[World, Traffic]:
    world = World()
    world.add_version("flights-1", OLD, rollout={"strategy": "immediate"})
    asyncio.run(world.settle())
    world.add_version("flights-2", NEW, rollout=dict(rollout or {}))
    asyncio.run(world.settle())
    return world, Traffic(world, failing)


class Loaded(Traffic):
    """The same, of pods that take seven bins longer, 1.8 times, where they have all the load; the new one `slower` bins more."""

    slower = 0

    def _add(self, digest: str, count: int, *, shadow: bool) -> None:
        super()._add(digest, count, shadow=shadow)
        moved = 7 * (count > 0.9 * LOOK_S * RATE) + self.slower * (digest == NEW)
        entry = self._entries[digest, self.world.route_revision(), shadow]
        latency = [(number + moved, count) for number, count in entry.latency.request]
        entry.latency = Latency(latency, latency)


def shown(world: World) -> tuple[Any, ...]:
    status = world.status("flights-2")
    return status["phase"], status["weight"], status["reason"]


def test_it_begins_at_the_first_step_and_waits_for_requests() -> None:
    world, _ = begun()
    assert shown(world)[:2] == ("Canary", 10)
    world.now += 600
    asyncio.run(world.settle())
    assert shown(world) == ("Canary", 10, "Undecided")
    assert world.route() == {"flights-1": (90, None), "flights-2": (10, None)}


def test_a_good_version_goes_live_by_itself() -> None:
    world, traffic = begun()
    weights, beside = [], set()
    while shown(world)[0] != "Live" and world.now < 1_000_000 + 3600:
        traffic.run(LOOK_S)
        weights.append(shown(world)[1])
        beside.add(world.route()["flights-1"])
    assert shown(world)[:2] == ("Live", 100), world.status("flights-2")["message"]
    assert weights == sorted(weights)
    assert {10, 50, 100} == set(weights)
    # With all requests at the new one the old one gets copies: there is something to compare with to the end.
    assert beside == {(90, None), (50, None), (0, 0.2), (0, None)}
    assert world.route() == {"flights-1": (0, None), "flights-2": (100, None)}


@pytest.mark.parametrize(("slower", "ends"), [(0, "Live"), (8, "RolledBack")])
def test_with_all_requests_at_once_it_is_compared_with_the_version_before_as_it_was_before_the_trial(
    slower: int, ends: str
) -> None:
    world = World()
    world.add_version("flights-1", OLD, rollout={"strategy": "immediate"})
    asyncio.run(world.settle())
    traffic = Loaded(world)
    traffic.slower = slower
    traffic.run(60)
    world.add_version("flights-2", NEW, rollout={"steps": [100]})
    asyncio.run(world.settle())
    traffic.run(180)
    assert shown(world)[0] == ends, world.status("flights-2")["message"]


def test_a_live_version_goes_on_saying_why_it_is() -> None:
    world, traffic = begun()
    while shown(world)[0] != "Live":
        traffic.run(LOOK_S)
    said = world.status("flights-2")["message"]
    since = world.status("flights-2")["liveSince"]
    assert said.startswith(f"Live since {since}: after ")
    assert (
        "flights-2 answers everything, and no harm over the margins was found. 0 % of flights-2's requests failed (0 of" in said
    )
    assert "against 0 % of flights-1's" in said
    # Nothing is counted of these answers.
    assert "No harm over its margin was found in latency either. What was answered was not compared: " in said
    world.now += 600
    asyncio.run(world.settle())
    assert world.status("flights-2")["message"] == said
    events = [event["message"] for (plural, _, _), event in world.cluster.objects.items() if plural == "events"]
    assert f"Promoting -> Live: {said}" in events
    # Pods that are away are told of for as long as they are.
    service = world.cluster.objects[INFERENCE_SERVICES.plural, NAMESPACE, "flights-2"]
    away = {"conditions": [{"type": "Ready", "status": "False", "message": "no pods"}]}
    world.cluster.put(INFERENCE_SERVICES, {**service, "status": away})
    asyncio.run(world.settle())
    assert "Live since" not in world.status("flights-2")["message"]
    world.cluster.put(INFERENCE_SERVICES, {**service, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    asyncio.run(world.settle())
    assert world.status("flights-2")["message"] == said


def test_a_version_that_was_promoted_and_one_that_came_back_say_so() -> None:
    world, _ = begun()
    world.annotate("flights-2", promote="100")
    asyncio.run(world.settle())
    said = f"Live since {world.status('flights-2')['liveSince']}: promoted by its annotation penstock.dev/promote"
    assert world.status("flights-2")["message"].startswith(said)
    assert "ledger" not in world.status("flights-2")["evidence"]
    world.now += 60
    world.annotate("flights-2", rollback="worse")
    asyncio.run(world.settle())
    assert world.status("flights-1")["message"] == (
        f"Live since {world.status('flights-1')['liveSince']}: it answers again, for the version after it was taken out."
    )


def test_a_version_that_is_promoted_in_its_last_step_keeps_nothing_that_only_the_trial_needs() -> None:
    world, traffic = begun()
    while shown(world)[1] < 100:
        traffic.run(LOOK_S)
    traffic.run(36)
    assert world.status("flights-2")["evidence"]["analysis"]["blocks"]
    world.annotate("flights-2", promote="100")
    asyncio.run(world.settle())
    assert shown(world)[0] == "Live"
    kept = world.status("flights-2")["evidence"]
    assert "ledger" not in kept
    assert kept["analysis"]["tests"]
    assert "blocks" not in kept["analysis"]


def test_a_version_that_is_taken_back_by_hand_keeps_its_verdicts_and_no_counts() -> None:
    world, traffic = begun()
    traffic.run(60)
    assert "ledger" in world.status("flights-2")["evidence"]
    world.annotate("flights-2", rollback="a test")
    asyncio.run(world.settle())
    assert shown(world) == ("RolledBack", 0, "RolledBack")
    kept = world.status("flights-2")["evidence"]
    assert kept["analysis"]["tests"]
    assert "ledger" not in kept


def test_a_bad_version_is_taken_back_with_its_reason() -> None:
    world, traffic = begun(failing={NEW: 0.05})
    traffic.run(120)
    assert shown(world) == ("RolledBack", 0, "WorseThanMargin")
    assert world.route() == {"flights-1": (100, None)}
    message = world.status("flights-2")["message"]
    assert message.startswith("Rolled back: ")
    kept = world.status("flights-2")["evidence"]
    assert kept["analysis"]["tests"]["errorRate"]["verdict"] == "harmful"
    assert "ledger" not in kept
    assert "of flights-2's requests failed" in message
    assert "flights-1" in message


def test_answers_far_from_those_of_training_are_told_and_decide_nothing() -> None:
    world, traffic = begun()
    assert conditions(world).keys() & {"Drifted"} == set()
    traffic.late = 0.5
    traffic.run(300)
    assert conditions(world)["Drifted"] == (
        "True",
        "40 % of flights-2's answers (label) would have to change to be distributed as in its training, over the margin of 15 %",
    )
    told = [document for (plural, _, _), document in world.cluster.objects.items() if plural == "events"]
    assert [(one["type"], one["reason"]) for one in told].count(("Warning", "FarFromTraining")) == 1
    traffic.run(1800)
    assert shown(world)[0] == "Live"


def conditions(world: World) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one.get("message", "")) for one in world.status("flights-2")["conditions"]}


def test_an_outage_of_both_takes_nothing_back() -> None:
    world, traffic = begun(failing={NEW: 0.3, OLD: 0.3})
    traffic.run(120)
    assert shown(world)[0] == "Canary"


def test_neither_a_new_operator_nor_a_new_transformer_counts_anything_twice() -> None:
    world, traffic = begun()
    traffic.run(24)
    before = counted(world)
    world.restart()
    asyncio.run(world.settle())
    assert counted(world) == before
    traffic.restart("two")
    world.now += LOOK_S
    asyncio.run(world.settle())
    assert counted(world) == before
    traffic.run(12)
    assert counted(world) == {NEW: before[NEW] + 240, OLD: before[OLD] + 2160}


def counted(world: World) -> dict[str, int]:
    document = world.cluster.objects[MODEL_VERSIONS.plural, NAMESPACE, "flights-2"]
    ledger = read_ledger(document["status"]["evidence"]["ledger"])
    return {entry.bundle: entry.requests for entry in ledger.totals}


@pytest.mark.parametrize("text", ["", "no base64", "AAAA", write_ledger(Ledger(looks=3))[:-8]])
def test_a_ledger_that_cannot_be_read_is_empty(text: str) -> None:
    assert read_ledger(text) == Ledger()


def test_a_shadow_is_judged_before_any_request_is_answered_by_it() -> None:
    world, traffic = begun({"shadow": {"fraction": 0.5, "minRequests": 5000}})
    traffic.run(24)
    assert shown(world) == ("Shadow", 0, "Undecided")
    assert "shadow" in world.status("flights-2")["message"]
    traffic.run(300)
    assert shown(world)[0] in ("Canary", "Promoting", "Live")


@pytest.mark.parametrize(("choice", "phase"), [("wait", "Canary"), ("rollBack", "RolledBack"), ("promote", "Live")])
def test_what_happens_when_the_time_is_up(choice: str, phase: str) -> None:
    world, traffic = begun({"maxDuration": "10m", "onInsufficientTraffic": choice})
    traffic.run(6)
    for _ in range(50):
        world.now += 3 * LOOK_S
        asyncio.run(world.settle())
    assert shown(world)[0] == phase
    if choice != "promote":
        assert "onInsufficientTraffic" in world.status("flights-2")["message"]


def test_promotion_by_hand_goes_over_the_evidence() -> None:
    world, _ = begun()
    world.annotate("flights-2", promote="50")
    asyncio.run(world.settle())
    assert shown(world)[:2] == ("Canary", 50)


def test_a_paused_version_stays_where_it_is_whatever_is_told() -> None:
    world, traffic = begun(failing={NEW: 0.5})
    world.annotate("flights-2", paused="true")
    traffic.run(60)
    assert shown(world)[:2] == ("Paused", 10)


def remembered(world: World) -> list[tuple[int, float]]:
    """Requests a second in the stages that are over, by their first revisions."""
    return [(first, per_s) for first, per_s in world.status("flights-2")["evidence"].get("requestsPerS", [])]


def missed(world: World, traffic: Traffic) -> None:
    """One look in which no transformer answers."""
    told, world.told = world.told, []
    traffic.run(LOOK_S)
    world.told = told


def by_a_clock_behind(world: World, traffic: Traffic) -> None:
    """Nobody looks for 28 s, and then an operator whose clock is 28 s behind."""
    traffic.come(28.0)
    world.restart()
    traffic.run(LOOK_S)


def after_a_restart(world: World, traffic: Traffic) -> None:
    """An operator that goes on from the status alone."""
    world.restart()
    asyncio.run(world.settle())
    traffic.run(LOOK_S)


def after_an_hour(world: World, traffic: Traffic) -> None:
    """Nobody looks for an hour, in which hardly anybody asked."""
    traffic.process.age_s += 3600.0
    world.now += 3600.0
    asyncio.run(world.settle())


@pytest.mark.parametrize("meanwhile", [missed, by_a_clock_behind, after_a_restart, after_an_hour])
def test_how_many_requests_came_a_second_is_remembered_of_a_stage_whatever_becomes_of_looks(meanwhile: Any) -> None:
    world, traffic = begun({"maxDuration": "9h"})
    first = world.route_revision()
    while shown(world)[1] == 10:
        traffic.run(3 * LOOK_S)
        if shown(world)[1] == 10:
            meanwhile(world, traffic)
    # A stage is remembered when the next one is looked at.
    traffic.run(2 * LOOK_S)
    ((revision, per_s),) = remembered(world)
    assert revision == first
    assert per_s == pytest.approx(RATE, rel=0.05)


def test_a_stage_without_requests_is_remembered_as_one_of_which_no_load_is_known() -> None:
    world, traffic = begun()
    first = world.route_revision()
    asyncio.run(world.settle())
    world.now += LOOK_S
    asyncio.run(world.settle())
    world.annotate("flights-2", promote="50")
    asyncio.run(world.settle())
    traffic.run(2 * LOOK_S)
    assert remembered(world) == [(first, 0.0)]


def test_the_load_under_a_revision_is_that_of_its_stage() -> None:
    memory = Memory(requests_per_s=[(3, 200.0), (5, 0.0), (8, 90.0)])
    found = [memory.requests_per_s_at(revision) for revision in range(2, 10)]
    assert found == [0.0, 200.0, 200.0, 0.0, 0.0, 0.0, 90.0, 90.0]
    assert Memory().requests_per_s_at(3) == 0.0


def told_of(revision: int, wrong: Mapping[str, float], units: int = 500) -> QualityDocument:
    """What a sink says of both bundles under one revision."""
    entries = [
        QualityEntry(digest, revision, sums=QualitySums(rows=units, units=Units(weight=units, wrong=units * rate)))
        for digest, rate in wrong.items()
    ]
    return QualityDocument("flights", [LogQuality("folder", 1.0, 0.0, entries)])


def test_a_version_whose_answers_turn_out_wrong_is_taken_back() -> None:
    world, traffic = begun()
    # What was true under another route, before this rollout, is no evidence of it.
    world.outcomes = [told_of(world.route_revision() - 1, {OLD: 0.1, NEW: 0.9})]
    traffic.run(2 * LOOK_S)
    assert shown(world)[0] == "Canary"
    world.outcomes = [told_of(world.route_revision(), {OLD: 0.1, NEW: 0.3})]
    traffic.run(2 * LOOK_S)
    assert shown(world) == ("RolledBack", 0, "WorseThanMargin")
    message = world.status("flights-2")["message"]
    assert message.startswith(
        "Rolled back: 30 % of flights-2's answers turned out wrong (500 outcomes) against 10 % of flights-1's"
    )
    assert world.status("flights-2")["evidence"]["analysis"]["tests"]["quality"]["verdict"] == "harmful"


def test_no_outcome_holds_nothing_up_and_those_of_an_earlier_step_take_back_later_on() -> None:
    world, traffic = begun()
    first = world.route_revision()
    world.outcomes = []
    while shown(world)[1] == 10:
        traffic.run(LOOK_S)
    assert shown(world)[1] == 50
    world.outcomes = [told_of(first, {OLD: 0.1, NEW: 0.3})]
    traffic.run(2 * LOOK_S)
    assert shown(world)[0] == "RolledBack"
