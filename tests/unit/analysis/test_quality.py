"""A rollout by outcomes: what takes a version back, what holds nothing up, and what the test is held to."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.evidence.quality import QualityEntry, QualitySums, Units
from penstock_operator.analysis import Arm, Evidence, Move, Trial, Verdict, analyse
from penstock_operator.analysis.alpha import (
    QUALITY,
    QUALITY_SHARE,
    SHADOW_SHARES,
    STEP_SHARES,
    harm_threshold,
    stage_share,
)
from penstock_operator.analysis.outcomes import Outcomes, Stratum, strata
from penstock_operator.analysis.quality import measure_quality
from penstock_operator.model_version import Margins, Rollout, Shadow

TRIAL = Trial(rollout=Rollout(), place=0, candidate="flights-8", baseline="flights-7", outcomes=True)
NEW, OLD = "sha256:b", "sha256:a"


def _outcomes(rows: float, wrong: float, **more: Any) -> Outcomes:
    return Outcomes(rows=round(rows), weight=rows, wrong=wrong, **more)


def _evidence(*quality: Stratum) -> Evidence:
    latency = {60: 10_000}
    good = Arm(units=10_000, failed=10, requests=10_000, latency=latency, outputs={"label": (7000, 3000, 0)})
    return Evidence(candidate=good, baseline=replace(good, units=40_000, failed=40), quality=quality)


WORSE = Stratum(_outcomes(400, 120), _outcomes(4000, 480))


def test_a_version_that_is_wrong_more_often_is_taken_back_in_plain_words() -> None:
    analysis = analyse(TRIAL, _evidence(WORSE), {})
    assert analysis.move is Move.ROLL_BACK
    assert analysis.sentence.startswith(
        "Rolled back: 30 % of flights-8's answers turned out wrong (400 outcomes) against 12 % of flights-7's in the same steps"
        " (4,000 outcomes); with 99 % confidence at least "
    )
    assert analysis.sentence.endswith(" points more, over the margin of 2.")
    assert json.loads(json.dumps(analysis.document))["tests"]["quality"]["verdict"] == "harmful"


@pytest.mark.parametrize("quality", [(), (Stratum(_outcomes(40, 6), _outcomes(400, 48)),)])
def test_outcomes_that_are_few_or_none_hold_nothing_up(quality: tuple[Stratum, ...]) -> None:
    analysis = analyse(TRIAL, _evidence(*quality), {})
    assert analysis.move is Move.ADVANCE
    found = analysis.finding(QUALITY)
    assert found is None or found.verdict is Verdict.UNDECIDED


def test_costs_count_where_both_have_one_table() -> None:
    priced: dict[str, Any] = {"table": "t", "low": -2.0, "spread": 10.0}
    dear = Stratum(_outcomes(400, 40, cost=200.0, **priced), _outcomes(4000, 400, cost=800.0, **priced))
    sentence = analyse(TRIAL, _evidence(dear), {}).sentence
    assert sentence.startswith(
        "Rolled back: an answer of flights-8 costs 3 by the card's costs (400 outcomes), one of flights-7 0"
    )
    assert sentence.endswith("over the margin of 0.2 (2 % of the costs' range).")
    other = replace(dear, baseline=replace(dear.baseline, table="u"))
    # Wrong as often: two tables do not compare, wrong answers do.
    assert analyse(TRIAL, _evidence(other), {}).move is Move.ADVANCE


def test_steps_with_other_weights_are_not_added_up() -> None:
    """Simpson: at 50 % everybody's answers were right; at 5 % both were wrong in a half. Added up, the candidate looks better."""
    paradox = (Stratum(_outcomes(50, 25), _outcomes(950, 475)), Stratum(_outcomes(5000, 0), _outcomes(5000, 0)))
    measured = measure_quality(TRIAL, paradox)
    assert measured is not None
    assert measured.harm < harm_threshold(TRIAL, QUALITY)
    pooled = measure_quality(TRIAL, (Stratum(_outcomes(5050, 25), _outcomes(5950, 475)),))
    assert pooled is not None
    assert pooled.harmless() > measured.harmless()


def test_one_more_step_with_the_same_evidence_adds_its_capital() -> None:
    once, twice = measure_quality(TRIAL, (WORSE,)), measure_quality(TRIAL, (WORSE, WORSE))
    assert once is not None
    assert twice is not None
    assert once.harm < twice.harm <= 2 * once.harm + 5


def test_a_sampled_log_says_as_much_as_it_has_rows() -> None:
    """Logged with a chance of one in ten, 400 rows stand for 4,000 and are evidence of 400."""
    whole = measure_quality(TRIAL, (WORSE,))
    tenth = Stratum(_outcomes(4000, 1200, least=0.1), _outcomes(40_000, 4800, least=0.1))
    sampled = measure_quality(TRIAL, (tenth,))
    assert whole is not None
    assert sampled is not None
    assert sampled.harm == pytest.approx(whole.harm)
    shadowed = measure_quality(TRIAL, (replace(WORSE, candidate=replace(WORSE.candidate, shadow=True)),))
    assert shadowed is not None
    assert 0 < shadowed.harm < whole.harm


@pytest.mark.parametrize("shadow", [None, Shadow()])
def test_alpha_is_shared_with_the_other_tests_only_where_outcomes_can_come(shadow: Shadow | None) -> None:
    for outcomes in (False, True):
        trial = replace(TRIAL, rollout=Rollout(shadow=shadow), outcomes=outcomes)
        spent = np.exp(-harm_threshold(trial, QUALITY)) if outcomes else 0.0
        for place, stage in enumerate(trial.stages):
            at = replace(trial, place=place)
            spent += sum(np.exp(-harm_threshold(at, test)) for test in (SHADOW_SHARES if stage.shadow else STEP_SHARES))
        assert spent == pytest.approx(trial.rollout.alpha)
    assert sum(stage_share(TRIAL, place) for place in range(len(TRIAL.stages))) == pytest.approx(1)
    assert harm_threshold(TRIAL, QUALITY) == pytest.approx(-np.log(0.01 * QUALITY_SHARE))


def test_false_alarms_are_as_rare_as_promised_with_callers_that_stick_and_a_sample_by_rarity() -> None:
    """Worse by exactly the margin, looked at 20 times; keys of several rows whose truth is the key's, rare answers logged more
    often. At an alpha of 0.2 for the test, the observed share must not establish that it is more."""
    rng = np.random.default_rng(21)
    alarms, runs = 0, 60
    trial = replace(TRIAL, rollout=Rollout(alpha=1.0 - 1e-9, margins=Margins(quality=0.02)))
    needed = -np.log(0.2)
    for _ in range(runs):
        keys = 4000
        candidate = rng.random(keys) < 0.25
        wrong = rng.random(keys) < np.where(candidate, 0.17, 0.15)
        chance = np.where(rng.random(keys) < 0.2, 1.0, 0.25)
        logged = rng.random(keys) < chance
        weight = logged / chance
        worst = 0.0
        for seen in np.arange(keys // 20, keys + 1, keys // 20):
            sums = [(weight[:seen] * (arm[:seen])).sum() for arm in (candidate, ~candidate)]
            bad = [(weight[:seen] * (arm[:seen] & wrong[:seen])).sum() for arm in (candidate, ~candidate)]
            arms = [Outcomes(rows=1, weight=s, wrong=b, least=0.25) for s, b in zip(sums, bad, strict=True)]
            measured = measure_quality(trial, (Stratum(*arms),))
            worst = max(worst, measured.harm if measured is not None else 0.0)
        alarms += worst >= needed
    # Binomial(60, 0.2) is above 22 with a chance of 1e-3.
    assert alarms <= 22, alarms


def _entry(bundle: str, revision: int | None, *, shadow: bool = False, units: float = 10.0) -> QualityEntry:
    sums = QualitySums(rows=10, units=Units(weight=units, wrong=1.0, costed=False), table="t")
    return QualityEntry(bundle, revision, shadow, sums=sums)


def test_only_revisions_that_assigned_both_are_compared() -> None:
    entries = [
        _entry(OLD, 3), _entry(NEW, 3),  # before this rollout
        _entry(OLD, 5), _entry(NEW, 5, shadow=True),
        _entry(OLD, 6), _entry(NEW, 6), _entry("sha256:c", 6),
        _entry(NEW, 7),
        _entry(NEW, 8), _entry(OLD, 8, units=0.0),
        _entry(OLD, None), _entry(NEW, None),
    ]  # fmt: skip
    found = strata(entries, candidate=NEW, baseline=OLD, since=5)
    assert [(one.candidate.shadow, one.baseline.shadow) for one in found] == [(True, False), (False, False)]
    # A table that not every unit was weighed by is none.
    assert {one.candidate.table for one in found} == {""}


@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.floats(0, 1e5)] * 2, *[st.floats(0, 1)] * 2, st.floats(0.01, 1), st.booleans()), max_size=4))
def test_whatever_counts_come_there_is_a_verdict_with_finite_words(
    rows: list[tuple[float, float, float, float, float, bool]],
) -> None:
    given_strata = tuple(
        Stratum(_outcomes(n, n * a, least=least), _outcomes(m, m * b, least=least, shadow=shadow))
        for n, m, a, b, least, shadow in rows
    )
    measured = measure_quality(TRIAL, given_strata)
    if measured is None:
        assert not any(min(n, m) > 1e-5 * max(n, m) for n, m, *_ in rows)
        return
    assert np.isfinite(measured.harm)
    for verdict in Verdict:
        assert "nan" not in measured.describe(verdict)
