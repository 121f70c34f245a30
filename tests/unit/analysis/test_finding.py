"""What is known to be harmless is not asked for again, and no verdict, move or word is another for it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.analysis import Arm, Evidence, Trial, analyse, decision
from penstock_operator.analysis.finding import Finding, Measured, Verdict, judge
from penstock_operator.model_version import Rollout

_LOGS = st.floats(-20, 20)
_NEEDED = st.floats(1, 10)
_COUNTS = st.lists(st.integers(0, 400), min_size=4, max_size=4)


def _judge_asking_always(
    measured: Measured, before: tuple[float, float], needed_harm: float, needed_harmless: float, *, tell_all: bool = True
) -> Finding:
    """As `judge`, and the greatest e-value is followed for ever."""
    harmless = max(before[1], measured.harmless())
    asked = replace(measured, harmless=lambda: harmless)
    found = judge(asked, before, needed_harm, needed_harmless, tell_all=tell_all)
    return replace(found, harmless=harmless)


@given(_LOGS, _LOGS, st.tuples(_LOGS, _LOGS), _NEEDED, _NEEDED)
def test_the_verdict_is_that_of_the_greatest_e_values(
    harm: float, harmless: float, before: tuple[float, float], needed_harm: float, needed_harmless: float
) -> None:
    found = judge(Measured("a", harm, lambda: harmless, str), before, needed_harm, needed_harmless)
    if max(harm, before[0]) >= needed_harm:
        assert found.verdict is Verdict.HARMFUL
    else:
        known = max(harmless, before[1]) >= needed_harmless
        assert found.verdict is (Verdict.HARMLESS if known else Verdict.UNDECIDED)


def test_what_is_known_to_be_harmless_is_not_asked_for_again() -> None:
    def never() -> float:
        raise AssertionError("asked")

    assert judge(Measured("a", 0.0, never, str), (0.0, 5.0), 9.0, 4.6).verdict is Verdict.HARMLESS


@st.composite
def _looks(draw: st.DrawFn) -> list[Evidence]:
    """Counts that grow from look to look, alike in both arms or not."""
    looks: list[Evidence] = []
    arms = Arm(), Arm()
    for _ in range(draw(st.integers(2, 6))):
        theirs = draw(_COUNTS)
        came = draw(st.just(theirs) | _COUNTS), theirs
        arms = tuple(_grown(arm, each, draw(st.integers(0, 20))) for arm, each in zip(arms, came, strict=True))
        looks.append(Evidence(candidate=arms[0], baseline=arms[1]))
    return looks


def _grown(arm: Arm, came: list[int], failed: int) -> Arm:
    units = arm.units + sum(came)
    return Arm(
        units=units,
        failed=min(arm.failed + failed, units),
        requests=units,
        latency={place: arm.latency.get(place, 0) + number for place, number in enumerate(came, 40)},
        outputs={"label": tuple(a + b for a, b in zip(arm.outputs.get("label", (0,) * 4), came, strict=True))},
    )


@settings(max_examples=60, deadline=None)
@given(_looks())
def test_moves_and_words_are_those_of_asking_always(looks: list[Evidence]) -> None:
    trial = Trial(rollout=Rollout(), place=0, candidate="flights-8", baseline="flights-7")
    now, always = {}, {}
    for evidence in looks:
        ours = analyse(trial, evidence, now)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(decision, "judge", _judge_asking_always)
            theirs = analyse(trial, evidence, always)
        assert (ours.move, ours.sentence) == (theirs.move, theirs.sentence)
        assert [(one.verdict, one.words) for one in ours.findings] == [(one.verdict, one.words) for one in theirs.findings]
        now, always = ours.document, theirs.document
