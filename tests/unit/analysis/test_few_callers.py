"""What few callers count for: less the more often each comes and the more alike what it gets, and it is said."""

from dataclasses import replace

import pytest

from penstock.evidence.callers import Callers, Sample
from penstock_operator.analysis import Arm, Evidence, Move, Trial, analyse
from penstock_operator.analysis.callers import (
    ALL_APART,
    Likeness,
    failed_once,
    few_callers,
    of_answers,
    of_latencies,
    others,
    weight,
)
from penstock_operator.model_version import Rollout

FOUR = (5, 25, 50, 100)
TRIAL = Trial(rollout=Rollout(steps=FOUR, max_duration="10m"), place=0, candidate="flights-8", baseline="flights-7")
MINUTES = 20


def arm(callers: int, *, late: float, alike: float, **more: object) -> Arm:
    """As many callers, each once in each of twenty minutes, of whose answers a part is `late`; `alike`: the part of pairs with
    the same label."""
    units = callers * MINUTES
    pairs = callers * (MINUTES - 1)
    came = Sample(0, [(mark, MINUTES) for mark in range(min(callers, 32))])
    told = Callers(units, came, alike={"label": (pairs, round(alike * pairs))}, quicker=[(60, pairs)], slower=[(70, pairs)])
    outputs = {"label": (round(units * late), round(units * (1 - late)), 0, 0)}
    return Arm(units=units, requests=9 * units, outputs=outputs, callers=told, **more)  # type: ignore[arg-type]


FEW = Evidence(candidate=arm(5, late=0.8, alike=1.0), baseline=arm(95, late=0.4, alike=1.0))


def test_observations_of_one_caller_are_one_if_they_are_alike_and_all_if_they_are_not() -> None:
    assert others(FEW.candidate) == MINUTES - 1
    assert weight(FEW.candidate, 1.0) * FEW.candidate.units == pytest.approx(5)
    assert weight(FEW.candidate, 0.0) == 1.0
    alone = replace(FEW.candidate, callers=None)
    assert (others(alone), weight(alone, 1.0)) == (0.0, 1.0)
    # Half of the requests have no key: half of what was counted is a caller's only one.
    mixed = replace(FEW.candidate, units=2 * FEW.candidate.units)
    assert others(mixed) == (MINUTES - 1) / 2


def test_how_alike_they_are_is_beyond_chance() -> None:
    assert of_answers(FEW, "label").seen == 1.0
    by_chance = Evidence(candidate=arm(5, late=0.5, alike=0.5), baseline=arm(95, late=0.5, alike=0.5))
    found = of_answers(by_chance, "label")
    assert found.seen == pytest.approx(0.0, abs=0.01)
    assert 0.0 < found.might < 0.1
    half = Evidence(candidate=arm(5, late=0.5, alike=0.75), baseline=arm(95, late=0.5, alike=0.75))
    assert of_answers(half, "label").seen == pytest.approx(0.5, abs=0.01)
    # Of one of which nothing is known all may be alike.
    assert (of_answers(FEW, "value").seen, of_answers(FEW, "value").might) == (1.0, 1.0)
    # Quick and slow by turns, and never both slow.
    assert of_latencies(FEW, (65, 65)).seen == 0.0
    assert of_latencies(FEW, (60, 60)).seen == 1.0


def test_of_a_quantile_beyond_which_there_are_few_it_is_taken_what_is_known_of_the_median() -> None:
    middle = of_latencies(FEW, (65, 65))
    assert of_latencies(FEW, (75, 75)).seen == 1.0
    assert of_latencies(FEW, (75, 75), middle) == middle
    # Where many are beyond it these are believed.
    assert of_latencies(FEW, (65, 65), Likeness()).seen == pytest.approx(0.0, abs=0.01)


def test_where_nobody_comes_twice_nothing_is_weighed() -> None:
    once = Callers(1000, Sample(5, [(5 << 16 | number, 1) for number in range(31)]))
    evidence = Evidence(candidate=Arm(units=1000, callers=once), baseline=Arm(units=9000, callers=once))
    assert of_answers(evidence, "label") is ALL_APART
    assert of_latencies(evidence, (1, 1)) is ALL_APART
    assert few_callers(evidence) == ""


def test_five_callers_with_answers_of_their_own_are_neither_harm_nor_harmless() -> None:
    untold = Evidence(candidate=replace(FEW.candidate, callers=None), baseline=replace(FEW.baseline, callers=None))
    assert analyse(TRIAL, untold, {}).move is Move.ROLL_BACK
    analysis = analyse(TRIAL, FEW, {})
    assert analysis.move is Move.WAIT
    assert analysis.sentence.endswith(
        "; all of it comes from 5 route keys, whose answers count as 5 requests: too few callers."
    ), analysis.sentence
    alike = Evidence(candidate=arm(5, late=0.4, alike=1.0), baseline=FEW.baseline)
    found = analyse(TRIAL, alike, {}).finding("outputDrift")
    assert found is not None
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("keyed", "alike", "said"),
    [
        (200, 0.5, ""),
        (800, 0.5, "; 80 % of it comes from 2 route keys: too few callers"),
        (1000, 0.5, "; all of it comes from 2 route keys: too few callers"),
        (200, 1.0, "; 20 % of it comes from 2 route keys, so that all answers count as 48 requests: too few callers"),
        (1000, 1.0, "; all of it comes from 2 route keys, whose answers count as 10 requests: too few callers"),
    ],
)
def test_of_requests_without_a_key_it_is_not_said_that_few_callers_sent_them(keyed: int, alike: float, said: str) -> None:
    came = Sample(0, [(mark, 100) for mark in range(2)])
    # Latencies by chance: quick and slow as often as not, whatever came before.
    latencies = {"quicker": [(60, 148), (70, 50)], "slower": [(60, 49), (70, 149)]}
    told = Callers(keyed, came, alike={"label": (198, round(198 * alike))}, **latencies)
    candidate = Arm(units=1000, requests=1000, outputs={"label": (500, 500)}, callers=told)
    assert few_callers(Evidence(candidate=candidate, baseline=Arm(units=9000))) == said


@pytest.mark.parametrize(
    ("choice", "move", "said"),
    [("promote", Move.ADVANCE, "Goes on"), ("rollBack", Move.ROLL_BACK, "Rolled back"), ("wait", Move.WAIT, "Waits on")],
)
def test_when_time_is_up_the_user_has_chosen_and_is_told_of_the_callers(choice: str, move: Move, said: str) -> None:
    rollout = Rollout(steps=FOUR, max_duration="10m", on_insufficient_traffic=choice)
    analysis = analyse(replace(TRIAL, rollout=rollout, elapsed_s=600.0), FEW, {})
    assert analysis.move is move
    assert analysis.sentence.startswith(said)
    assert "10m were not enough to decide at 5 %" in analysis.sentence
    assert "too few callers" in analysis.sentence


def test_a_caller_who_failed_in_several_transformers_is_harm_once() -> None:
    assert failed_once(Callers(9, failed=Sample(0, [(1, 4), (2, 1), (3, 1)])), 6) == pytest.approx(0.5)
    assert failed_once(Callers(9, failed=Sample(2, [(2 << 16, 2), (2 << 16 | 1, 1)])), 16) == pytest.approx(0.75)
    assert failed_once(Callers(9), 0) == 1.0
    many, few = (
        analyse(TRIAL, Evidence(candidate=Arm(units=100, failed=6, requests=100, once=once), baseline=Arm(units=1900)), {})
        for once in (1.0, 1 / 6)
    )
    assert (many.move, few.move) == (Move.ROLL_BACK, Move.WAIT)
    # It is no less harmless for it.
    assert many.finding("errorRate").harmless == few.finding("errorRate").harmless  # type: ignore[union-attr]
