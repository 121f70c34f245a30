"""Margins at the ends of what the CRD allows: what nothing can break is kept, what nothing may break is broken by the first."""

import json
import re
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.analysis import Arm, Evidence, Move, Pairs, Trial, Verdict, analyse
from penstock_operator.analysis.outcomes import Outcomes, Stratum
from penstock_operator.model_version import Margins, Rollout, Shadow

SHADOW, FIRST, LAST = 0, 1, 4


def _trial(place: int, **margins: float) -> Trial:
    rollout = Rollout(steps=(5, 25, 50, 100), shadow=Shadow(0.2, 200), margins=Margins(**margins))
    return Trial(rollout=rollout, place=place, candidate="flights-8", baseline="flights-7", elapsed_s=300.0, here_s=100.0)


def _evidence(failed: int = 0, *, copies: int = 236, differing: int = 0, only_shadow_failed: int = 0) -> Evidence:
    """As fast as each other, with the same answers."""
    candidate, baseline = (
        Arm(units=units, requests=units, latency={120: units // 2, 124: units // 2}, outputs={"label": (units // 2, units // 2)})
        for units in (2000, 20_000)
    )
    pairs = Pairs(
        requests=copies,
        units=copies,
        agreeing=copies - differing,
        differing=differing,
        ratios={160: copies},
        only_shadow_failed=only_shadow_failed,
    )
    return Evidence(candidate=replace(candidate, failed=failed), baseline=baseline, pairs=pairs)


def test_a_shadow_that_may_fail_as_often_as_it_likes_goes_on_though_it_fails_always() -> None:
    analysis = analyse(_trial(SHADOW, error_rate=1.0), _evidence(only_shadow_failed=236), {})
    assert analysis.move is Move.ADVANCE, analysis.sentence
    assert "with 99 % confidence at most 100 points more, within the margin of 100." in analysis.sentence


@pytest.mark.parametrize(("differing", "share"), [(0, "0 %"), (500, "10 %"), (5000, "100 %")])
def test_a_shadow_that_may_give_any_label_goes_on_whatever_it_gives(differing: int, share: str) -> None:
    analysis = analyse(_trial(SHADOW, disagreement=1.0), _evidence(copies=5000, differing=differing), {})
    assert analysis.move is Move.ADVANCE, analysis.sentence
    found = analysis.finding("disagreement")
    assert found is not None
    assert found.verdict is Verdict.HARMLESS
    assert f"to {share} of requests" in found.words
    assert found.words.endswith("within the margin of 100 %")


@pytest.mark.parametrize(("differing", "bound"), [(1, ""), (236, "; with 99 % confidence to at least 96 %")])
def test_a_shadow_that_may_give_no_other_label_is_out_with_the_first(differing: int, bound: str) -> None:
    analysis = analyse(_trial(SHADOW, disagreement=0.0), _evidence(differing=differing), {})
    assert analysis.move is Move.ROLL_BACK, analysis.sentence
    assert analysis.sentence.endswith(f" of 236 copied){bound}, over the margin of 0 %.")


@pytest.mark.parametrize("place", [FIRST, LAST])
def test_a_step_lets_a_version_by_that_fails_almost_always_if_it_may(place: int) -> None:
    analysis = analyse(_trial(place, error_rate=1.0), _evidence(failed=1999), {})
    assert analysis.move is Move.ADVANCE, analysis.sentence
    assert analysis.findings[0].words.endswith("with 99 % confidence at most 100 points more, within the margin of 100")


@pytest.mark.parametrize("margin", [1.0, 1.5])
@pytest.mark.parametrize("place", [SHADOW, FIRST, LAST])
def test_a_version_goes_on_with_answers_that_none_of_the_others_are_like_if_it_may(place: int, margin: float) -> None:
    same = _evidence(copies=5000)
    candidate = replace(same.candidate, outputs={"label": (5000, 0)})
    evidence = replace(same, candidate=candidate, baseline=replace(same.baseline, outputs={"label": (0, 50_000)}))
    analysis = analyse(_trial(place, output_drift=margin), evidence, {})
    assert analysis.move is Move.ADVANCE, analysis.sentence
    found = analysis.finding("outputDrift")
    assert found is not None
    assert found.verdict is Verdict.HARMLESS
    assert found.words.endswith(f"with 99 % confidence at most 100 %, within the margin of {margin * 100:g} %")


def test_a_version_may_be_wrong_always() -> None:
    quality = (Stratum(Outcomes(rows=500, weight=500.0, wrong=500.0), Outcomes(rows=500, weight=500.0)),)
    analysis = analyse(_trial(LAST, quality=1.0), replace(_evidence(), quality=quality), {})
    found = analysis.finding("quality")
    assert found is not None
    assert found.verdict is Verdict.HARMLESS
    assert found.words.endswith("with 99 % confidence at most 100 points more, within the margin of 100")


RATES = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)
MARGINS = st.builds(
    Margins,
    error_rate=RATES,
    latency_p99=st.sampled_from([1.0, 1.25, 1e9, 1e300]),
    output_drift=RATES | st.sampled_from([1.5, 1e9]),
    disagreement=RATES,
    quality=RATES,
)


@settings(max_examples=100)
@given(MARGINS, st.integers(SHADOW, LAST), st.lists(RATES, min_size=7, max_size=7), st.sampled_from([0, 1, 1000, 10**6]))
def test_whatever_margins_are_set_every_look_has_a_move_in_plain_words(
    margins: Margins, place: int, rates: list[float], units: int
) -> None:
    ours, theirs = (
        Arm(
            units=units,
            requests=units,
            failed=round(rates[one] * units),
            latency={100: units, 100 + round(40 * rates[one + 2]): units},
            outputs={"label": (round(rates[one + 4] * units), units - round(rates[one + 4] * units))},
            training={"label": ([units, 0], [0, 1000])},
        )
        for one in (0, 1)
    )
    hits = round(rates[6] * units)
    pairs = Pairs(
        requests=units,
        units=units,
        agreeing=units - hits,
        differing=hits,
        ratios={160: units - hits, 170: hits},
        only_shadow_failed=hits,
    )
    outcomes = [Outcomes(rows=units, weight=float(units), wrong=rate * units) for rate in rates[:2]]
    evidence = Evidence(candidate=ours, baseline=theirs, pairs=pairs, quality=(Stratum(*outcomes),))
    trial = _trial(place)
    trial = replace(trial, rollout=msgspec.structs.replace(trial.rollout, margins=margins))
    analysis = analyse(trial, evidence, {})
    document = json.dumps(analysis.document, allow_nan=False)
    said = " ".join([analysis.sentence, *(one.words for one in analysis.findings), *analysis.alerts])
    assert not re.search(r"\b(nan|inf)\b", said), said
    # The look after this one goes by what was written, and finds no less.
    assert analyse(trial, evidence, json.loads(document)).move is analysis.move
