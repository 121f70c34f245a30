"""Margins at the ends of what the CRD allows: what nothing can break is kept, what nothing may break is broken by the first."""

from dataclasses import replace

import pytest

from penstock_operator.analysis import Arm, Evidence, Move, Pairs, Trial, Verdict, analyse
from penstock_operator.model_version import Margins, Rollout, Shadow

SHADOW = 0


def _trial(place: int, **margins: float) -> Trial:
    rollout = Rollout(steps=(5, 25, 50, 100), shadow=Shadow(0.2, 200), margins=Margins(**margins))
    return Trial(rollout=rollout, place=place, candidate="flights-8", baseline="flights-7", elapsed_s=300.0, here_s=100.0)


def _evidence(failed: int = 0, *, copies: int = 236, differing: int = 0, only_shadow_failed: int = 0) -> Evidence:
    """As fast as each other, with the same answers."""
    candidate, baseline = (
        Arm(units=units, requests=units, latency={120: units // 2, 124: units // 2}, outputs={"label": (units // 2, units // 2)})
        for units in (1000, 10_000)
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
