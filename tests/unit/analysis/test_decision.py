"""What a rollout does of all its tests: shadows, steps, the last step, the split of alpha, and what an operator remembers."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from penstock_operator.analysis import Analysis, Arm, Evidence, Move, Pairs, Trial, Verdict, analyse
from penstock_operator.analysis.alpha import SHADOW_SHARES, STEP_SHARES, harm_threshold, harmless_threshold, stage_share
from penstock_operator.analysis.bins import coarsened
from penstock_operator.model_version import Rollout, Shadow

FOUR = (5, 25, 50, 100)
STEPS = Trial(rollout=Rollout(steps=FOUR), place=0, candidate="flights-8", baseline="flights-7")
SHADOWED = Trial(rollout=Rollout(steps=FOUR, shadow=Shadow(0.2, 500)), place=0, candidate="flights-8", baseline="flights-7")


def _arm(units: int, *, failed: int = 0, slower: float = 1.0, moved: float = 0.0, calls: int = 0, seed: int = 8) -> Arm:
    """An arm with lognormal latencies around 20 ms, and answers of which a share `moved` went from one label to the other."""
    rng = np.random.default_rng(seed)
    latency = Counter(
        np.floor(16 * np.log2(0.02 * slower * np.exp(0.4 * rng.standard_normal(units)) / 1e-4)).astype(int).tolist()
    )
    late = round(units * (0.3 + moved))
    return Arm(
        units=units, failed=failed, requests=units, calls=calls, latency=latency, outputs={"label": (units - late, late, 0, 0)}
    )


GOOD = Evidence(candidate=_arm(10_000, failed=10), baseline=_arm(40_000, failed=40, seed=9))


def test_a_good_version_goes_on_and_its_sentence_says_that_it_is_no_worse() -> None:
    analysis = analyse(STEPS, GOOD, {})
    assert analysis.move is Move.ADVANCE
    assert [one.verdict for one in analysis.findings] == [Verdict.HARMLESS] * 3
    assert analysis.sentence.startswith("No worse than flights-7 at 5 %: 0.1 % of flights-8's requests failed")
    assert analysis.sentence.endswith(" margin of 0.5. Nor is it worse by more than its margins in latency or answers.")


@pytest.mark.parametrize(
    ("bad", "test", "told"),
    [
        (_arm(2000, failed=80), "errorRate", "4 % of flights-8's requests failed (80 of 2,000)"),
        (_arm(2000, failed=2, slower=2.0), "latencyP99", "latency of flights-8 is"),
        (
            _arm(2000, failed=2, moved=0.4),
            "outputDrift",
            "40 % of flights-8's answers (label) would have to change to be distributed as flights-7's (2,000 against 40,000 req",
        ),
    ],
)
def test_each_fault_is_rolled_back_by_its_own_test_and_words(bad: Arm, test: str, told: str) -> None:
    analysis = analyse(STEPS, Evidence(candidate=bad, baseline=GOOD.baseline), {})
    assert analysis.move is Move.ROLL_BACK
    assert {one.test for one in analysis.findings if one.verdict is Verdict.HARMFUL} == {test}
    assert analysis.sentence.startswith("Rolled back: ")
    assert told in analysis.sentence
    assert "with 99 % confidence" in analysis.sentence
    assert "over the margin of" in analysis.sentence


def test_a_version_that_answers_a_value_instead_of_labels_is_rolled_back() -> None:
    bad = replace(_arm(2000, failed=2), outputs={"value": (0, 1000, 998, 0, 0)})
    for arms, told in (((bad, GOOD.baseline), "value instead of labels"), ((GOOD.candidate, bad), "labels instead of value")):
        analysis = analyse(STEPS, Evidence(candidate=arms[0], baseline=arms[1]), {})
        assert analysis.move is Move.ROLL_BACK
        assert f"100 % of flights-8's answers ({told}) would have to change to be distributed as flights-7's" in analysis.sentence


def test_where_nothing_is_counted_of_answers_the_sentence_says_that_they_were_not_compared() -> None:
    for outputs in ({}, {"scores.late": (0, 9990, 0, 0)}):
        evidence = replace(GOOD, candidate=replace(GOOD.candidate, outputs=outputs))
        analysis = analyse(STEPS, evidence, {})
        assert analysis.move is Move.ADVANCE
        assert analysis.sentence.endswith(
            " What was answered was not compared: it is no label, score or value that is counted of both."
        )


def test_a_fault_of_both_or_of_the_stable_version_is_no_reason_to_roll_back() -> None:
    both = Evidence(candidate=_arm(10_000, failed=5000, slower=6.0), baseline=_arm(40_000, failed=20_000, slower=6.0))
    assert analyse(STEPS, both, {}).move is not Move.ROLL_BACK
    stable = Evidence(candidate=_arm(10_000, failed=10), baseline=_arm(40_000, failed=4000, slower=3.0))
    assert analyse(STEPS, stable, {}).move is Move.ADVANCE


def test_requests_that_shared_a_call_count_as_one() -> None:
    alone = analyse(STEPS, Evidence(candidate=_arm(400, slower=1.6), baseline=GOOD.baseline), {}).finding("latencyP99")
    shared = analyse(STEPS, Evidence(candidate=_arm(400, slower=1.6, calls=20), baseline=GOOD.baseline), {}).finding("latencyP99")
    assert alone is not None
    assert shared is not None
    assert shared.harm < alone.harm


def test_a_shadow_that_swaps_labels_is_out_within_a_few_copies() -> None:
    pairs = Pairs(requests=20, units=20, agreeing=1, differing=19)
    analysis = analyse(SHADOWED, Evidence(candidate=Arm(), baseline=Arm(), pairs=pairs), {})
    assert analysis.move is Move.ROLL_BACK
    assert analysis.sentence.startswith(
        "Rolled back: flights-8 gives another label than flights-7 to 95 % of requests (19 of 20 copied)"
    )


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (
            Pairs(requests=600, units=600, agreeing=580, differing=2, only_shadow_failed=30),
            "flights-8 failed on 30 of 600 copied requests",
        ),
        (
            Pairs(requests=600, units=600, agreeing=598, differing=2, ratios={176: 500, 160: 98}),
            "takes 2 times as long as flights-7 in the median (598 copied); with 99 % confidence at least 2 times as long, over"
            " the margin of 1.25",
        ),
    ],
)
def test_a_shadow_that_fails_or_is_slow_is_out(pairs: Pairs, told: str) -> None:
    analysis = analyse(SHADOWED, Evidence(candidate=Arm(), baseline=Arm(), pairs=pairs), {})
    assert analysis.move is Move.ROLL_BACK
    assert told in analysis.sentence


def test_copies_that_shared_a_call_are_one_observation_of_how_long_it_took() -> None:
    slow = Pairs(requests=600, units=600, agreeing=600, ratios={176: 600}, calls=600)
    for calls, move in ((600, Move.ROLL_BACK), (5, Move.WAIT)):
        evidence = Evidence(candidate=Arm(), baseline=Arm(), pairs=replace(slow, calls=calls))
        assert analyse(SHADOWED, evidence, {}).move is move


def test_a_shadow_goes_on_once_it_has_its_copies() -> None:
    few = Pairs(requests=400, units=400, agreeing=399, differing=1, ratios={160: 400})
    enough = Pairs(requests=3000, units=3000, agreeing=2995, differing=5, ratios={160: 3000})
    assert analyse(SHADOWED, Evidence(candidate=Arm(), baseline=Arm(), pairs=few), {}).move is Move.WAIT
    assert analyse(SHADOWED, Evidence(candidate=Arm(), baseline=Arm(), pairs=enough), {}).move is Move.ADVANCE
    waiting = replace(SHADOWED, rollout=Rollout(steps=FOUR, shadow=Shadow(0.2, 5000)))
    analysis = analyse(waiting, Evidence(candidate=Arm(), baseline=Arm(), pairs=enough), {})
    assert analysis.sentence == "Undecided at shadow: 3,000 requests copied of the 5,000 that shadow.minRequests asks for."


# As seen on a busy cluster of an equally fast version: 1.19 in the median, for as long as it was a shadow.
BUSY = {155: 500, 164: 1600, 170: 900}


def test_a_shadow_whose_copies_take_longer_by_less_than_the_margin_is_left_to_the_first_step() -> None:
    pairs = Pairs(requests=3000, units=3000, agreeing=2995, differing=5, ratios=BUSY)
    analysis = analyse(SHADOWED, Evidence(candidate=Arm(), baseline=Arm(), pairs=pairs), {})
    assert analysis.move is Move.ADVANCE
    latency = analysis.finding("latencyP99")
    assert latency is not None
    assert latency.verdict is Verdict.UNDECIDED
    assert latency.words.endswith(
        "takes 1.19 times as long as flights-7 in the median (3,000 copied); with 99 % confidence at least 1.19 times as long,"
        " not known to be over the margin of 1.25"
    )
    # There it is asked for, of requests.
    step = replace(SHADOWED, place=1)
    requests = Evidence(candidate=_arm(4000, failed=4, slower=1.25), baseline=GOOD.baseline)
    analysis = analyse(step, requests, {})
    assert (analysis.move, analysis.sentence[:39]) == (Move.WAIT, "Undecided at 5 %: p50 latency of flight")


def test_a_shadow_does_not_go_on_before_its_latency_could_have_shown_harm() -> None:
    pairs = Pairs(requests=3000, units=3000, agreeing=2995, differing=5)
    cold = Evidence(candidate=Arm(), baseline=Arm(), pairs=pairs, cold=True)
    analysis = analyse(SHADOWED, cold, {})
    assert (analysis.move, analysis.sentence) == (
        Move.WAIT,
        "Undecided at shadow: the latency of flights-8 is not looked at before its pods have answered for 36 s.",
    )
    few = Evidence(candidate=Arm(), baseline=Arm(), pairs=replace(pairs, ratios={160: 9}))
    analysis = analyse(SHADOWED, few, {})
    assert (analysis.move, analysis.sentence) == (
        Move.WAIT,
        "Undecided at shadow: the latencies of 9 copied requests are too few to tell even a version that takes longer for all of"
        " them.",
    )
    assert analyse(SHADOWED, few, {}, tell_all=False).move is Move.WAIT
    shared = Evidence(candidate=Arm(), baseline=Arm(), pairs=replace(pairs, ratios={160: 3000}, calls=9))
    assert analyse(SHADOWED, shared, {}).move is Move.WAIT


def test_a_shadow_waits_while_it_looks_slower_than_the_margin() -> None:
    pairs = Pairs(requests=3000, units=3000, agreeing=2995, differing=5, ratios={160: 1420, 170: 1580})
    looks = Evidence(candidate=Arm(), baseline=Arm(), pairs=pairs)
    analysis = analyse(SHADOWED, looks, {})
    assert (analysis.move, analysis.sentence) == (
        Move.WAIT,
        "Undecided at shadow: on the same requests flights-8 takes 1.54 times as long as flights-7 in the median (3,000 copied);"
        " with 99 % confidence at least 1 times as long, not known to be over the margin of 1.25.",
    )
    assert analyse(SHADOWED, looks, {}, tell_all=False).move is Move.WAIT


@pytest.mark.parametrize("per_doubling", [8, 16])
def test_a_margin_of_a_quarter_is_kept_by_a_fifth_in_finer_bins_alone(per_doubling: int) -> None:
    def arm(slower: float, seed: int) -> Arm:
        fine = _arm(400_000, failed=400, slower=slower, seed=seed)
        return replace(fine, latency=coarsened(fine.latency, 16, per_doubling), per_doubling=per_doubling)

    found = analyse(STEPS, Evidence(candidate=arm(1.2, 3), baseline=arm(1.0, 4)), {}).finding("latencyP99")
    assert found is not None
    assert found.verdict is (Verdict.HARMLESS if per_doubling == 16 else Verdict.UNDECIDED)


def test_arms_that_are_known_in_bins_of_two_widths_are_compared_in_the_wider() -> None:
    wide = replace(GOOD.baseline, latency=coarsened(GOOD.baseline.latency, 16, 8), per_doubling=8)
    mixed = analyse(STEPS, replace(GOOD, baseline=wide), {})
    both = replace(GOOD.candidate, latency=coarsened(GOOD.candidate.latency, 16, 8), per_doubling=8)
    assert mixed == analyse(STEPS, Evidence(candidate=both, baseline=wide), {})
    assert mixed.move is Move.ADVANCE


def test_at_100_per_cent_only_harm_is_looked_for() -> None:
    last = replace(STEPS, place=3)
    assert analyse(last, Evidence(candidate=Arm(units=60), baseline=Arm(units=12)), {}).move is Move.ADVANCE
    fine = Evidence(candidate=Arm(units=20_000, failed=25), baseline=Arm(units=4000, failed=4))
    assert analyse(last, fine, {}).move is Move.ADVANCE
    failing = Evidence(candidate=Arm(units=20_000, failed=900), baseline=Arm(units=4000, failed=4))
    assert analyse(last, failing, {}).move is Move.ROLL_BACK


def test_at_100_per_cent_latency_is_harmful_only_beside_what_the_stable_version_took_under_load_too() -> None:
    def played(loaded: Arm | None) -> Analysis:
        remembered, candidate, baseline = {}, _arm(10_000, slower=1.8), _arm(2000, seed=9)
        for look in range(1, 5):
            evidence = Evidence(candidate=_times(candidate, look), baseline=_times(baseline, look), loaded=loaded)
            analysis = analyse(replace(STEPS, place=3, here_s=30.0 * look), evidence, remembered)
            remembered = analysis.document
        return analysis

    assert played(None).move is Move.ROLL_BACK
    assert played(_arm(40_000, slower=1.75, seed=7)).move is Move.ADVANCE
    analysis = played(_arm(40_000, seed=7))
    assert analysis.move is Move.ROLL_BACK
    assert analysis.sentence.endswith(", beside flights-7 as it was with most of the requests, too.")


def _times(arm: Arm, times: int) -> Arm:
    """The same once more, so many times."""
    return replace(arm, units=times * arm.units, latency={number: times * count for number, count in arm.latency.items()})


def test_a_stage_that_begins_anew_has_half_of_its_alpha_each_time() -> None:
    for test in STEP_SHARES:
        spent = sum(np.exp(-harm_threshold(replace(STEPS, again=again), test)) for again in range(30))
        assert spent == pytest.approx(2 * np.exp(-harm_threshold(STEPS, test)))
    assert np.exp(-harmless_threshold(replace(STEPS, again=1))) == pytest.approx(STEPS.rollout.alpha / 2)


@pytest.mark.parametrize(
    ("candidate", "baseline", "why"),
    [
        (Arm(), Arm(), "flights-8 has answered none of 0 requests so far"),
        (Arm(units=900, failed=900), Arm(units=180, failed=180), "flights-8 has answered none of 900 requests so far"),
        (
            Arm(units=50),
            Arm(units=3),
            "50 requests to flights-8 and 3 requests to flights-7 are too few to tell even a version that fails all of them",
        ),
    ],
)
def test_at_100_per_cent_it_waits_until_harm_could_have_shown(candidate: Arm, baseline: Arm, why: str) -> None:
    evidence = Evidence(candidate=candidate, baseline=baseline)
    analysis = analyse(replace(STEPS, place=3), evidence, {})
    assert (analysis.move, analysis.sentence) == (Move.WAIT, f"Undecided at 100 %: {why}.")
    late = replace(STEPS, place=3, elapsed_s=7200.0)
    for choice, move in (("wait", Move.WAIT), ("promote", Move.ADVANCE), ("rollBack", Move.ROLL_BACK)):
        chosen = analyse(replace(late, rollout=Rollout(steps=FOUR, on_insufficient_traffic=choice)), evidence, {})
        assert chosen.move is move
        assert why in chosen.sentence


def test_two_versions_whose_callers_all_left_are_not_known_to_be_equally_fast() -> None:
    dead = Evidence(candidate=Arm(units=10_000), baseline=Arm(units=40_000))
    analysis = analyse(STEPS, dead, {})
    assert (analysis.move, analysis.sentence) == (Move.WAIT, "Undecided at 5 %: none of 50,000 requests was answered.")
    pairs = Pairs(requests=3000, units=3000)
    analysis = analyse(SHADOWED, replace(dead, pairs=pairs), {})
    assert analysis.sentence == "Undecided at shadow: none of 3,000 copied requests was answered by both versions."


def test_drift_from_training_tells_and_decides_nothing() -> None:
    candidate = replace(GOOD.candidate, training={"label": ((3000, 7000), (700, 300))})
    analysis = analyse(STEPS, replace(GOOD, candidate=candidate), {})
    assert analysis.move is Move.ADVANCE
    assert analysis.alerts == (
        "40 % of flights-8's answers (label) would have to change to be distributed as in its training, over the margin of 15 %",
    )


def test_what_chance_did_to_a_small_profile_is_no_drift() -> None:
    def alerts(trained: tuple[int, int]) -> tuple[str, ...]:
        candidate = replace(GOOD.candidate, training={"label": ((4800, 5200), trained)})
        return analyse(STEPS, replace(GOOD, candidate=candidate), {}).alerts

    assert alerts((14, 6)) == ()
    assert alerts((14_000, 6_000)) != ()


@pytest.mark.parametrize(
    "rollout", [Rollout(), Rollout(shadow=Shadow()), Rollout(steps=(100,)), Rollout(steps=(1, 2, 5, 10, 100))]
)
def test_all_shares_of_a_rollout_add_up_to_alpha(rollout: Rollout) -> None:
    trial = Trial(rollout=rollout, place=0, candidate="b", baseline="a")
    stages = range(len(trial.stages))
    assert sum(stage_share(trial, place) for place in stages) == pytest.approx(1.0)
    spent = 0.0
    for place in stages:
        at = replace(trial, place=place)
        spent += sum(np.exp(-harm_threshold(at, test)) for test in (SHADOW_SHARES if at.stage.shadow else STEP_SHARES))
    assert spent == pytest.approx(rollout.alpha)
    assert np.exp(-harmless_threshold(trial)) == pytest.approx(rollout.alpha)


def test_what_is_remembered_is_json_belongs_to_its_stage_and_may_be_anything() -> None:
    document = analyse(STEPS, GOOD, {}).document
    assert json.loads(json.dumps(document)) == document
    following = replace(STEPS, place=1)
    assert analyse(following, Evidence(candidate=Arm(), baseline=Arm()), document).move is Move.WAIT
    for broken in ({}, {"stage": document["stage"]}, {"stage": document["stage"], "tests": {"errorRate": {"harm": "x"}}}):
        assert analyse(STEPS, GOOD, broken).move is Move.ADVANCE
