"""A run remembers how far its version came: one that goes on wrongly and then waits is told apart from one that never did."""

import pytest

from penstock_cli.rollout.simulate.drawing import document_of
from penstock_cli.rollout.simulate.policy import Decision, End
from penstock_cli.rollout.simulate.run import Run, run
from penstock_cli.rollout.simulate.summary import summarise
from penstock_cli.rollout.simulate.trace import Scenario, Seen, Shares, Trace
from penstock_cli.rollout.simulate.traffic import Traffic

QUIET = Scenario(Traffic(rate=1.0))
LIVE, BACK = Decision(end=End.LIVE), Decision(end=End.ROLLED_BACK)


class Written:
    """Decisions one after the other, the last for ever."""

    look_s = 6.0

    def __init__(self, *decisions: Decision) -> None:
        self._left = list(decisions)

    def begin(self) -> Decision:
        return self._left.pop(0)

    def look(self, now_s: float, seen: Seen) -> Decision:
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


def ran(*decisions: Decision) -> Run:
    return run(Trace(QUIET, 60.0, 1), Written(*decisions))


def step(weight: int) -> Decision:
    return Decision(Shares(weight))


SHADOW = Decision(Shares(0, shadow=0.2))


@pytest.mark.parametrize(
    "decisions, greatest, end, went_on",
    [
        ((step(10), step(10)), 10, End.WAITING, False),
        ((step(10), step(10), step(50)), 50, End.WAITING, True),
        ((step(10), step(50), BACK), 50, End.ROLLED_BACK, True),
        ((step(10), BACK), 10, End.ROLLED_BACK, False),
        ((step(100), LIVE), 100, End.LIVE, True),
        ((step(50), LIVE), 50, End.LIVE, True),
        ((SHADOW, SHADOW), 0, End.WAITING, False),
        ((SHADOW, step(10)), 10, End.WAITING, True),
    ],
)
def test_a_version_has_gone_on_once_it_had_more_than_its_first_stage_gave_it(
    decisions: tuple[Decision, ...], greatest: int, end: End, *, went_on: bool
) -> None:
    found = ran(*decisions)
    assert (found.greatest_weight, found.end, found.went_on) == (greatest, end, went_on)


def test_the_last_look_counts_though_no_request_follows_it() -> None:
    found = ran(*[step(10)] * 10, step(50))
    assert (found.seconds, found.greatest_weight) == (60.0, 50)


def test_a_summary_has_the_share_of_runs_that_went_on() -> None:
    summary = summarise([ran(step(10), step(10)), ran(step(10), step(50)), ran(step(10), step(50), BACK)])
    assert (summary.went_on.events, summary.went_on.trials, summary.waiting.events) == (2, 3, 2)
    rules = document_of(QUIET, {"evidence": summary}, 3, 1)["rules"]
    assert isinstance(rules, dict)
    assert rules["evidence"]["wentOn"]["events"] == 2
