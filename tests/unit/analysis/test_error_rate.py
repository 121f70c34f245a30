"""The error rate of a version on trial, as a rollout sees it: what is decided, and with which words."""

import json

from penstock_operator.analysis import Arm, Evidence, Move, Trial, Verdict, analyse
from penstock_operator.model_version import Rollout

TRIAL = Trial(rollout=Rollout(), place=0, candidate="flights-8", baseline="flights-7")


def test_a_version_that_fails_is_rolled_back_with_its_numbers() -> None:
    evidence = Evidence(candidate=Arm(units=1930, failed=41), baseline=Arm(units=36_700, failed=38))
    analysis = analyse(TRIAL, evidence, {})
    assert analysis.move is Move.ROLL_BACK
    assert analysis.sentence == (
        "Rolled back: 2.1 % of flights-8's requests failed (41 of 1,930) against 0.1 % of flights-7's (38 of 36,700); "
        "with 99 % confidence at least 0.98 points more, over the margin of 0.5."
    )


def test_requests_of_which_one_a_minute_counts_of_each_key_are_called_so() -> None:
    candidate = Arm(units=1930, failed=41, requests=9650)
    analysis = analyse(TRIAL, Evidence(candidate=candidate, baseline=Arm(units=36_700, failed=38, requests=183_500)), {})
    assert analysis.sentence == (
        "Rolled back: 2.1 % of flights-8's requests failed (41 of 1,930, one of each route key in a minute) against 0.1 % of "
        "flights-7's (38 of 36,700); with 99 % confidence at least 0.98 points more, over the margin of 0.5."
    )


def test_a_verdict_outlives_the_look_that_reached_it_and_the_operator() -> None:
    bad = Evidence(candidate=Arm(units=500, failed=40), baseline=Arm(units=9500, failed=9))
    remembered = json.loads(json.dumps(analyse(TRIAL, bad, {}).document))
    diluted = Evidence(candidate=Arm(units=50_000, failed=40), baseline=Arm(units=950_000, failed=900))
    assert analyse(TRIAL, diluted, {}).findings[0].verdict is Verdict.HARMLESS
    assert analyse(TRIAL, diluted, remembered).move is Move.ROLL_BACK


def test_no_traffic_waits_and_then_does_what_the_user_chose() -> None:
    nothing = Evidence(candidate=Arm(), baseline=Arm())
    assert analyse(TRIAL, nothing, {}).move is Move.WAIT
    for chosen, move in (("wait", Move.WAIT), ("promote", Move.ADVANCE), ("rollBack", Move.ROLL_BACK)):
        late = Trial(rollout=Rollout(on_insufficient_traffic=chosen), place=0, candidate="b", baseline="a", elapsed_s=7200.0)
        analysis = analyse(late, nothing, {})
        assert analysis.move is move
        assert "onInsufficientTraffic" in analysis.sentence
