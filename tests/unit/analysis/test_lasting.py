"""Latency with all requests: what is one moment, what lasts, and how long a version waits for it to show."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from math import exp, inf, log
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_operator.analysis import Analysis, Arm, Evidence, Move, Trial, analyse
from penstock_operator.analysis.alpha import LATENCY, harm_threshold
from penstock_operator.analysis.bins import coarsened
from penstock_operator.analysis.lasting import BLOCK_S, BLOCKS, BUSIER, Blocks, Counted
from penstock_operator.analysis.traffic import Traffic
from penstock_operator.model_version import Rollout

LAST = Trial(rollout=Rollout(steps=(5, 25, 50, 100)), place=3, candidate="flights-8", baseline="flights-7")
LOOK_S = 6.0


def _latencies(requests: int, slower: float, seed: int) -> Counter[int]:
    """Around 20 ms."""
    drawn = 0.02 * slower * np.exp(0.5 * np.random.default_rng(seed).standard_normal(requests))
    return Counter(np.floor(16 * np.log2(drawn / 1e-4)).astype(int).tolist())


LOADED = Arm(units=40_000, latency=coarsened(_latencies(40_000, 1.0, 99), 16, 8), per_doubling=8)


class Step:
    """The last step, a look every 6 s. Copies take 0.55 times as long as requests of an equal version; `load`: how many times as
    long load was seen to make them; `usual_per_s`: how many requests came then, 0 if that is not known."""

    def __init__(self, *, per_s: float = 200.0, loaded: Arm | None = LOADED, load: float = 1.0, usual_per_s: float = 0.0) -> None:
        self.per_s, self.loaded, self.load, self.usual_per_s, self.looks = per_s, loaded, load, usual_per_s, 0
        self.traffic = Traffic()
        self.remembered: dict[str, Any] = {}
        self.requests: Counter[int] = Counter()
        self.copies: Counter[int] = Counter()

    def look(self, slower: float = 1.0, *, both: float = 1.0, per_doubling: int = 16, failing: float = 0.0) -> Analysis:
        """One more. `slower`: how many times as long requests take in these seconds; `both`: they and copies."""
        self.looks += 1
        number = round(self.per_s * LOOK_S)
        self.traffic = self.traffic.after(number, self.per_s)
        self.requests += _latencies(number, slower * both, self.looks)
        self.copies += _latencies(number // 5, 0.55 * both, 1000 + self.looks)
        units, few = self.requests.total(), self.copies.total()
        evidence = Evidence(
            candidate=Arm(
                units=units,
                failed=round(failing * units),
                requests=units,
                latency=coarsened(self.requests, 16, per_doubling),
                per_doubling=per_doubling,
            ),
            baseline=Arm(units=few, requests=few, latency=coarsened(self.copies, 16, per_doubling), per_doubling=per_doubling),
            loaded=self.loaded,
            load=self.load,
            usual_requests_per_s=self.usual_per_s,
            traffic=self.traffic,
        )
        trial = replace(LAST, here_s=self.looks * LOOK_S)
        found = analyse(trial, evidence, self.remembered)
        # As a status keeps it.
        self.remembered = json.loads(json.dumps(found.document))
        return found

    def looks_at(self, slower: Iterable[float]) -> list[Analysis]:
        return [self.look(one) for one in slower]


def _moves(analyses: Iterable[Analysis]) -> set[Move]:
    return {one.move for one in analyses}


def test_a_version_that_is_slow_all_the_time_is_taken_back_after_two_minutes() -> None:
    found = Step().looks_at([2.0] * 20)
    assert [one.move for one in found[:-1]].count(Move.ROLL_BACK) == 0
    assert found[-1].move is Move.ROLL_BACK
    assert (
        "over the margin of 1.25; it is over the margin in each of the last 4 half minutes, beside flights-7 as it was with most"
        " of the requests, too." in found[-1].sentence
    )


@pytest.mark.parametrize("late", range(6))
@pytest.mark.parametrize("slower", [1.6, 20.0])
def test_no_minute_takes_a_version_back_however_slow_it_was(slower: float, late: int) -> None:
    found = Step().looks_at([1.0] * late + [slower] * 10 + [1.0] * 20)
    assert Move.ROLL_BACK not in _moves(found)
    # Nor is it live before it is known to have been a moment.
    assert found[late + 9].move is Move.WAIT or late + 9 < 2 * BLOCK_S / LOOK_S
    assert found[-1].move is Move.ADVANCE


def test_moments_that_are_apart_do_not_add_up() -> None:
    found = Step().looks_at(([3.0] * 15 + [1.0] * 5) * 4)
    assert Move.ROLL_BACK not in _moves(found)


def test_a_version_is_not_live_while_its_harm_may_last() -> None:
    step = Step()
    found = step.looks_at([2.0] * 12)
    assert (found[-1].move, found[-1].sentence) == (
        Move.WAIT,
        "Undecided at 100 %: the latency of flights-8 has been over the margin of 1.25 for 2 half minutes on end; after 4 it"
        " is rolled back.",
    )
    # In two blocks that show nothing any more it may be.
    assert step.looks_at([1.0] * 8)[-1].move is Move.ADVANCE


def test_a_good_version_waits_no_longer_than_it_did() -> None:
    assert _moves(Step().looks_at([1.0] * 10)[4:]) == {Move.ADVANCE}


def test_a_block_goes_on_until_harm_could_have_shown_in_it() -> None:
    found = Step(per_s=2.0).looks_at([1.0] * 20)
    assert (found[4].move, found[4].sentence) == (
        Move.WAIT,
        "Undecided at 100 %: the latencies of 60 requests to flights-8 and 10 requests to flights-7 are too few to tell even a"
        " version that takes twice the margin as long.",
    )
    assert found[-1].move is Move.ADVANCE
    slow = Step(per_s=2.0)
    found = slow.looks_at([3.0] * 80)
    assert Move.ADVANCE not in _moves(found[5:])
    assert found[-1].move is Move.ROLL_BACK
    assert slow.remembered["blocks"]["complete"] < 80 * LOOK_S / BLOCK_S


def test_of_callers_with_keys_it_is_said_what_the_numbers_are_of() -> None:
    arms = [Arm(units=units, requests=9 * units, latency={120: units}) for units in (150, 30)]
    unseen = Blocks().unseen(replace(LAST, here_s=60.0), Evidence(candidate=arms[0], baseline=arms[1]))
    assert unseen == (
        "the latencies of 150 requests to flights-8 and 30 requests to flights-7, one of each route key in a minute, are too few"
        " to tell even a version that takes twice the margin as long"
    )


def test_harm_that_lasts_and_is_not_sure_is_not_said_to_be_rolled_back() -> None:
    blocks = Blocks(0.0, 20, [harm_threshold(LAST, LATENCY) / BLOCKS + 0.1] * BLOCKS)
    assert blocks.harm < harm_threshold(LAST, LATENCY)
    assert blocks.unseen(LAST, Evidence(candidate=Arm(), baseline=Arm())) == (
        "the latency of flights-8 has been over the margin of 1.25 for 4 half minutes on end; not yet surely enough to roll it"
        " back"
    )


def test_where_nothing_was_seen_under_load_the_copies_alone_say_it() -> None:
    found = Step(loaded=None).looks_at([1.0] * 20)[-1]
    assert found.move is Move.ROLL_BACK
    assert found.sentence.endswith("it is over the margin in each of the last 4 half minutes.")


@pytest.mark.parametrize(("load", "move"), [(1 / 0.55, Move.ADVANCE), (1.0, Move.ROLL_BACK)])
def test_what_slows_both_versions_is_no_harm_where_it_is_known_what_load_does(load: float, move: Move) -> None:
    step = Step(load=load)
    assert [step.look(both=1.6) for _ in range(40)][-1].move is move


def test_twice_the_latency_is_harm_whatever_load_does_and_what_slows_both() -> None:
    step = Step(load=1 / 0.55)
    assert [step.look(2.0, both=1.2) for _ in range(20)][-1].move is Move.ROLL_BACK


BURST = {"per_s": 300.0, "load": 1.3, "usual_per_s": 200.0}
LOOKS_A_BLOCK = round(BLOCK_S / LOOK_S)


def test_under_more_load_than_before_no_latency_is_harm_and_after_eight_half_minutes_it_goes_live_and_says_so() -> None:
    step = Step(**BURST)
    found = step.looks_at([3.0] * (LOOKS_A_BLOCK * BUSIER))
    assert [one.move for one in found[LOOKS_A_BLOCK - 1 :]] == [Move.WAIT] * (LOOKS_A_BLOCK * (BUSIER - 1)) + [Move.ADVANCE]
    assert found[-2].sentence == (
        "Undecided at 100 %: the latency of flights-8 has been over the margin of 1.25 for 7 half minutes on end under more load"
        " than flights-7 had with most of the requests (300 requests/s against 200 requests/s), which may be why; it goes live"
        " after a half minute that is not over the margin, or after 8 on end under such load, and is rolled back after 4 over it"
        " under usual load."
    )
    assert found[-1].sentence == (
        "flights-8 answers everything. Latency was not compared for 8 half minutes on end, because 300 requests/s came, against"
        " 200 requests/s when flights-7 had most of them: it is over the margin of 1.25, which may be for the load. No other harm"
        " over the margins was found."
    )
    assert found[-1].document["open"] == [LATENCY]


def test_as_fast_under_more_load_is_no_slower_under_as_much() -> None:
    found = Step(**BURST).looks_at([1.0] * 10)
    assert _moves(found[4:]) == {Move.ADVANCE}
    assert found[-1].sentence == "flights-8 answers everything, and no harm over the margins was found."
    assert "open" not in found[-1].document


@pytest.mark.parametrize("slow", range(1, BLOCKS))
def test_harm_that_has_not_lasted_when_load_has_come_to_stay_holds_nothing_up_for_ever(slow: int) -> None:
    step = Step(**BURST)
    step.per_s = 200.0
    step.looks_at([3.0] * LOOKS_A_BLOCK * slow)
    step.per_s = 300.0
    found = step.looks_at([3.0] * LOOKS_A_BLOCK * BUSIER)
    assert [one.move for one in found[:-1]] == [Move.WAIT] * (len(found) - 1)
    before = "1 half minute" if slow == 1 else f"{slow} half minutes"
    assert f"over the margin of 1.25 for {before} and then for 7 half minutes on end under more load than" in found[-2].sentence
    assert found[-1].move is Move.ADVANCE
    assert "Latency was not compared for 8 half minutes on end, because 300 requests/s came" in found[-1].sentence


def test_half_minutes_of_more_load_count_on_end() -> None:
    step, found = Step(**BURST), []
    for blocks, per_s in ((BUSIER - 1, 300.0), (1, 200.0), (BUSIER - 1, 300.0)):
        step.per_s = per_s
        found += step.looks_at([3.0] * LOOKS_A_BLOCK * blocks)
    assert _moves(found[LOOKS_A_BLOCK:]) == {Move.WAIT}
    assert "for 1 half minute and then for 7 half minutes on end under more load" in found[-1].sentence


def test_harm_that_has_lasted_and_is_not_sure_goes_live_under_no_load() -> None:
    blocks = Blocks(0.0, 20, [harm_threshold(LAST, LATENCY) / BLOCKS + 0.1] * BLOCKS, busier=30, busier_on_end=30)
    evidence = Evidence(candidate=Arm(), baseline=Arm(), usual_requests_per_s=200.0)
    assert blocks.unseen(LAST, evidence).endswith("and is rolled back once more of them under usual load have made it sure")
    assert blocks.not_compared(LAST, evidence) == ""


@pytest.mark.parametrize("known", [{"usual_per_s": 0.0}, {"load": 1.0}, {"usual_per_s": 250.0}])
def test_more_load_is_an_excuse_where_load_is_known_and_was_seen_to_matter(known: dict[str, float]) -> None:
    assert Step(**BURST | known).looks_at([3.0] * 20)[-1].move is Move.ROLL_BACK


def test_harm_under_usual_load_is_found_between_bursts() -> None:
    step, found = Step(**BURST), []
    for block in range(7):
        step.per_s = 300.0 if block % 2 else 200.0
        found += step.looks_at([3.0] * LOOKS_A_BLOCK)
        # Harm was seen, and a burst tells nothing of it.
        assert found[-1].move is not Move.ADVANCE
    assert found[-1].move is Move.ROLL_BACK
    assert "in each of the last 4 half minutes, of those with no more requests a second than flights-7 had," in found[-1].sentence


def test_errors_are_found_at_once() -> None:
    assert Step().look(failing=0.05).move is Move.ROLL_BACK


def test_without_any_latencies_there_is_nothing_to_wait_for() -> None:
    evidence = Evidence(candidate=Arm(units=20_000, failed=25), baseline=Arm(units=4000, failed=4))
    assert analyse(replace(LAST, here_s=90.0), evidence, {}).move is Move.ADVANCE


def test_transformers_that_know_wider_bins_only_may_come_in_the_middle() -> None:
    step = Step()
    found = [step.look(2.0, per_doubling=16 if turn < 8 else 8) for turn in range(20)]
    assert found[-1].move is Move.ROLL_BACK
    step = Step()
    assert Move.ROLL_BACK not in {step.look(per_doubling=16 if turn < 8 else 8).move for turn in range(20)}


def test_what_was_kept_may_be_anything_and_is_of_its_step_alone() -> None:
    step = Step()
    step.looks_at([2.0] * 19)
    for broken in (7, {"harms": "none"}, None, {}, {"complete": 20}, {"complete": 20, "harms": [1000.0]}):
        step.remembered["blocks"] = broken
        assert step.look(2.0).move is not Move.ROLL_BACK
    step = Step()
    step.looks_at([2.0] * 19)
    step.remembered["stage"] = "2/50 %"
    assert step.look(2.0).move is not Move.ROLL_BACK


@given(st.dictionaries(st.integers(0, 200), st.integers(1, 99)), st.dictionaries(st.integers(0, 200), st.integers(1, 99)))
@settings(max_examples=50, deadline=None)
def test_blocks_share_no_counts_and_lose_none(before: dict[int, int], came: dict[int, int]) -> None:
    now = Counter(before) + Counter(came)
    begun = Counted.of(Arm(latency=before, calls=7))
    kept = msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(begun))), Counted)
    since = kept.since(Arm(latency=now, calls=9))
    assert (dict(since.latency), since.calls) == (came, 2)


def test_blocks_that_each_say_too_much_by_chance_are_together_wrong_as_seldom_as_they_promise() -> None:
    """e-values with a mean of 1 and no variance: 0.5 / sqrt(u), of which one in a hundred is over 5."""
    rng, bound, wrong, runs = np.random.default_rng(8), 0.05, 0, 4000
    for logs in np.log(0.5 / np.sqrt(rng.random((runs, 40)))).tolist():
        blocks, greatest = Blocks(), -inf
        for harm in logs:
            blocks = Blocks(0.0, blocks.complete + 1, [*blocks.harms, harm][-BLOCKS:])
            greatest = max(greatest, blocks.harm)
        wrong += greatest >= -log(bound)
    assert wrong / runs <= bound
    sure = Blocks(0.0, BLOCKS, [log(10.0)] * BLOCKS)
    assert exp(sure.harm) == pytest.approx(10.0**BLOCKS / 2)
