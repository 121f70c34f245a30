"""What is remembered of an object that the API server has not taken, and when it is given again."""

import pytest

from penstock_operator.apply import Outcome
from penstock_operator.cluster import INFERENCE_SERVICES, ClusterError, Refused
from penstock_operator.plan import Operation, Plan, Verb
from penstock_operator.refusals import LONGEST_S, noted, put_off, wait_s
from penstock_operator.seen import ObjectKey, Refusal, Seen
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE

WHY = "exceeded quota: models, requested: 1, used: 2, limited: 2"
NO = Refused("no", 403)
SILENT = ClusterError("no answer to PATCH /apis/serving.kserve.io/v1beta1: TimeoutError")
KEY = INFERENCE_SERVICES, "flights-1"


def apply_of(size: int) -> Operation:
    return Operation(Verb.APPLY, INFERENCE_SERVICES, NAMESPACE, "flights-1", {"size": size})


def seen_at(now: float, refused: dict[ObjectKey, Refusal]) -> Seen:
    return Seen(NAMESPACE, MODEL, now, refused=refused)


def test_when_it_is_tried_again() -> None:
    other = Operation(Verb.DELETE, INFERENCE_SERVICES, NAMESPACE, "flights-1")
    plan = Plan((apply_of(1), other), 0.0)
    refused = noted(seen_at(100.0, {}), plan, Outcome(1, refused={KEY: NO}), 100.0)
    waiting = seen_at(100.2, refused)
    assert put_off(plan.operations, waiting) == (other,)
    assert wait_s(waiting) == pytest.approx(0.3)
    # Its time has come, somebody has changed what is asked for, or the clock has been set back by an hour.
    assert put_off(plan.operations, seen_at(101.0, refused)) == (other, apply_of(1))
    assert put_off((apply_of(2), other), waiting) == (other, apply_of(2))
    assert put_off(plan.operations, seen_at(-3500.0, refused)) == (other, apply_of(1))
    assert wait_s(seen_at(101.0, refused)) == float("inf")


def test_what_becomes_of_a_refusal() -> None:
    before = {KEY: Refusal(WHY, {"size": 1}, 110.0, 3, 106.0, 104.5)}
    tried = Plan((apply_of(1),), 0.0)
    # Not tried yet, taken, refused again, refused as another, not come to.
    assert noted(seen_at(100.0, before), Plan((), 0.0), Outcome(0), 111.0) == before
    assert noted(seen_at(110.0, before), tried, Outcome(1, taken={KEY}), 110.0) == {}
    assert noted(seen_at(110.0, before), tried, Outcome(0, refused={KEY: NO}), 120.0)[KEY] == Refusal(
        "no", {"size": 1}, 124.0, 4, 120.0, 104.5
    )
    other = noted(seen_at(105.0, before), Plan((apply_of(2),), 0.0), Outcome(0, refused={KEY: NO}), 105.0)
    assert other[KEY] == Refusal("no", {"size": 2}, 105.5, 1, 105.0, 105.0)
    # No answer at all: what was said before counts no longer. Not tried: it does, and the next plan tries it before others.
    assert noted(seen_at(110.0, before), tried, Outcome(0, refused={KEY: SILENT}), 120.0)[KEY] == Refusal(
        str(SILENT), {"size": 1}, 124.0, 4, 120.0
    )
    assert noted(seen_at(110.0, before), tried, Outcome(0, untried={KEY: SILENT}), 120.0) == {
        KEY: Refusal(WHY, {"size": 1}, 122.0, 3, 106.0, 104.5)
    }
    assert noted(seen_at(110.0, {}), tried, Outcome(0, untried={KEY: SILENT}), 120.0) == {
        KEY: Refusal(str(SILENT), {"size": 1}, 120.5)
    }
    # Taken, and the plan ended behind it, or a status was refused.
    assert noted(seen_at(110.0, before), tried, Outcome(1, NO, taken={KEY}), 110.0) == {}
    assert noted(seen_at(110.0, before), tried, Outcome(0, ClusterError("away")), 110.0) == before
    # Nobody asks for it any more.
    assert noted(seen_at(110.0, before), Plan((), 0.0), Outcome(0), 110.0) == {}


def test_of_those_whose_time_has_come_the_one_with_the_fewest_tries_is_first() -> None:
    """All wait equally long behind one that gets no answer: else the others would never have their turn."""
    names = ("flights-1", "flights-2", "flights-3")
    plan = Plan(tuple(Operation(Verb.APPLY, INFERENCE_SERVICES, NAMESPACE, name) for name in names), 0.0)
    refused: dict[ObjectKey, Refusal] = {(INFERENCE_SERVICES, name): Refusal(WHY, {}, 100.0, 9) for name in names}
    now, turns = 100.0, []
    for _ in names:
        seen = seen_at(now, refused)
        first, *others = put_off(plan.operations, seen)
        silent = Outcome(0, None, {(first.kind, first.name): SILENT}, {(one.kind, one.name): SILENT for one in others})
        refused = noted(seen, plan, silent, now)
        turns.append(first.name)
        now += LONGEST_S
    assert turns == list(names)
