"""What chaos counts as lost, doubled and disagreeing: each by one history that is, and one next to it that is not."""

import importlib
from pathlib import Path
from typing import Any

import pytest

CHAOS = Path(__file__).resolve().parents[1] / "chaos"
ENDS = {"predictions": "succeeded", "dead-letters": "failed"}


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Any:
    """(lost, doubled, disagreeing) of one id: the topics that it was seen in, its state, and what who canceled it was told."""
    monkeypatch.syspath_prepend(str(CHAOS))
    module = importlib.import_module("judge")

    def judge(seen: str, state: str, answer: str | None = None) -> tuple[bool, bool, bool]:
        verdict = module.Verdict(states={"a": state}, answers={} if answer is None else {"a": answer})
        for topic in seen.split():
            verdict.seen[f"{module.MODEL}.{topic}"]["a"] += 1
        return bool(verdict.lost({"a"})), bool(verdict.doubled()), bool(verdict.disagreeing({"a"}))

    return judge


GOOD = (False, False, False)


@pytest.mark.parametrize(("topic", "state"), ENDS.items())
def test_one_record_and_the_state_that_it_says(judged: Any, topic: str, state: str) -> None:
    assert judged(f"requests {topic}", state) == GOOD
    assert judged(f"requests {topic}", "starting") == (False, False, True)
    assert judged(f"requests {topic} {topic}", state) == (False, True, False)
    assert judged(f"requests requests {topic}", state) == (False, True, False)
    assert judged("requests", "starting") == (True, False, True)
    assert judged("requests", state) == (True, False, True)


def test_the_other_topic_says_another_state(judged: Any) -> None:
    assert judged("requests predictions", "failed") == (False, False, True)
    assert judged("requests dead-letters", "succeeded") == (False, False, True)
    assert judged("requests predictions dead-letters", "succeeded") == (False, True, False)


def test_canceled_before_its_request_was_published_it_has_no_record(judged: Any) -> None:
    assert judged("", "canceled", "canceled") == GOOD
    # The end that the caller was told changed.
    assert judged("", "starting", "canceled") == (False, False, True)


def test_canceled_after_its_request_was_published_it_has_one_record_and_stays_canceled(judged: Any) -> None:
    assert judged("requests predictions", "canceled", "canceled") == GOOD
    assert judged("requests dead-letters", "canceled", "canceled") == GOOD
    assert judged("requests", "canceled", "canceled") == (True, False, False)
    assert judged("requests predictions predictions", "canceled", "canceled") == (False, True, False)
    assert judged("requests predictions", "succeeded", "canceled") == (False, False, True)


def test_who_canceled_too_late_was_told_the_end(judged: Any) -> None:
    assert judged("requests predictions", "succeeded", "succeeded") == GOOD
    assert judged("requests predictions", "canceled", "succeeded") == (False, False, True)
    # Taken, and unknown when it was to be canceled.
    assert judged("requests predictions", "succeeded", "status 404") == (False, False, True)


def test_nobody_canceled_it(judged: Any) -> None:
    assert judged("requests predictions", "canceled") == (False, False, True)
    assert judged("", "canceled") == (True, False, True)
