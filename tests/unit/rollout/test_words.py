"""What is said of a rollout: the sentence fits what the statuses say, whatever stage they are in."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from penstock_cli.rollout.document import document_of
from penstock_cli.rollout.drawing import drawn, lines_of
from penstock_cli.rollout.story import Story, stories_of
from penstock_cli.rollout.words import headline, hints, plan_of, span, why
from penstock_operator.clock import read_moment
from penstock_operator.model_version import ModelVersion
from penstock_operator.seen import Entry, Route
from penstock_operator.stage import Stage

Make = Callable[..., ModelVersion]
NOW = read_moment("2026-01-31T12:05:10Z", 0.0)
OWN = Route("u", "1", 42, (Entry("sha256:" + "cd" * 32, "http://flights-predictor.default:80", 95.0),))


def story(*versions: ModelVersion, route: Route | None = None) -> Story:
    (found,) = stories_of(versions, {("default", "flights"): route})
    return found


def text(*stories: Story, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(drawn(stories, NOW))
    printed: str = console.file.getvalue()  # type: ignore[attr-defined]
    return printed


@pytest.mark.parametrize(
    "stage, weight, said",
    [
        ("", 0, "flights-8 has not begun; flights-7 answers all requests"),
        ("Verifying", 0, "flights-8 is being verified; flights-7 answers all requests"),
        ("Warming", 0, "flights-8 starts its predictor; flights-7 answers all requests"),
        ("Joining", 0, "the transformers fetch flights-8; flights-7 answers all requests"),
        ("Shadow", 0, "flights-8 gets copies of 20 % of requests; flights-7 answers all requests"),
        ("Canary", 0, "flights-8 waits for its first step; flights-7 answers all requests"),
        ("Canary", 25, "flights-8 answers 25 % of requests, flights-7 the others"),
        ("Promoting", 100, "flights-8 takes over from flights-7"),
        ("Failed", 0, "flights-8 failed (Failed: no); flights-7 answers all requests"),
        ("RolledBack", 0, "flights-8 was rolled back (no); flights-7 answers all requests"),
    ],
)
def test_each_stage_has_its_sentence(version: Make, stage: str, weight: int, said: str) -> None:
    new = version("flights-8", stage, weight, message="no", rollout={"shadow": {"fraction": 0.2}})
    told = story(version("flights-7", "Live", 100 - weight), new)
    assert headline(told) == said
    assert said in text(told)


def test_what_evidence_said_is_told_once(version: Make) -> None:
    said = "Rolled back: 2.9 % of flights-8's requests failed (12 of 407)."
    new = version("flights-8", "RolledBack", 0, reason="WorseThanMargin", message=said)
    told = story(version("flights-7", "Live", 100), new)
    assert headline(told) == "flights-8 was rolled back; flights-7 answers all requests"
    assert text(told).count(said) == 1
    assert why(new) == said


def test_the_first_version_and_the_users_own_bundle(version: Make) -> None:
    assert headline(story(version("flights-1", "Promoting", 100))) == "flights-1 takes all requests"
    assert headline(story(version("flights-1", "Verifying"))).endswith("; nothing answers requests yet")
    beside = story(version("flights-1", "Canary", 5), route=OWN)
    assert headline(beside) == "flights-1 answers 5 % of requests, the InferenceService's own bundle the others"
    assert "route revision 42" in text(beside)
    assert re.search(r"\(its own bundle\) +95 %", text(beside))
    assert headline(story(version("flights-1", "Live", 100))) == "flights-1 answers all requests"
    arm = Entry("sha256:" + "cd" * 32, "http://flights-1-base-predictor.default:80", 5.0, model="flights-1-base", arm="baseline")
    split = Route("u", "1", 43, (replace(OWN.entries[0], weight=90.0), arm))
    assert re.search(r"\(its own bundle\) +95 %", text(story(version("flights-1", "Canary", 5), route=split)))


def test_what_can_be_done_next(version: Make) -> None:
    waiting = version("flights-8", "Canary", 25, reason="AwaitingPromotion", message="annotation")
    assert hints(story(waiting)) == [
        "penstock rollout promote flights-8    (to 50 %)",
        "penstock rollout rollback flights-8",
    ]
    paused = version("flights-8", "Canary", 25, annotations={"penstock.dev/paused": "true"})
    assert hints(story(paused))[0] == "penstock rollout resume flights-8"
    assert headline(story(paused)).startswith("Paused: ")
    assert hints(story(version("flights-7", "Live", 100))) == []


def test_why_is_short_and_the_conditions_are_whole(version: Make) -> None:
    condition = {"type": "Acknowledged", "status": "False", "reason": "WaitingForTransformers", "message": "2 of 3 pods"}
    new = version("flights-8", "Canary", 25, reason="AwaitingPromotion", message="annotation x", conditions=[condition])
    kept = version("flights-6", "Kept", reason="KeptForRollback", kept_until="2026-01-31T12:10:00Z")
    assert (why(new), why(kept, NOW)) == ("waits to be promoted", "kept for a roll-back, 4 min 50 s more")
    assert why(version("flights-9")) == "the operator has not seen it yet"
    assert why(version("flights-9", "Live", 100, deleted="2026-01-31T12:10:00Z")) == "is being deleted"
    assert "WaitingForTransformers: 2 of 3 pods" in text(story(new, kept))
    assert plan_of(new) == "manual, steps 5 [25] 50 100"
    assert plan_of(version("a", "Canary", 5, annotations={"penstock.dev/promote": "50 %"})).endswith(", may go to 50 %")


def test_old_versions_are_counted_and_not_shown(version: Make) -> None:
    old = [version(f"flights-{number}", "Retired") for number in range(30)]
    shown = text(story(*old, version("flights-30", "Live", 100)))
    assert shown.index("flights-30") < shown.index("flights-29") < shown.index("flights-25")
    assert "flights-24" not in shown
    assert "and 25 more that have ended" in shown


@given(st.lists(st.tuples(st.sampled_from(["", *Stage]), st.integers(0, 100), st.text(max_size=20)), min_size=1, max_size=5))
def test_nothing_that_a_status_says_breaks_it(found: list[tuple[str, int, str]]) -> None:
    from penstock_operator.model_version import read_model_version

    documents = [
        {
            "metadata": {"namespace": "default", "name": f"flights-{at}"},
            "spec": {"inferenceService": "flights", "bundle": {"uri": "pvc://a/b", "digest": "sha256:" + "ab" * 32}},
            "status": {"phase": stage, "stage": stage, "weight": weight, "reason": said, "message": said},
        }
        for at, (stage, weight, said) in enumerate(found)
    ]
    told = stories_of([read_model_version(one) for one in documents], {})
    for width in (20, 80, 300):
        assert text(*told, width=width)
    assert len(json.loads(json.dumps(document_of(told)))["models"][0]["versions"]) == len(found)
    assert len(lines_of(told)) == len(found)


@pytest.mark.parametrize(
    "seconds, said",
    [(-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_000, "1 d 1 h"), (86_401, "1 d")],
)
def test_lengths_of_time(seconds: float, said: str) -> None:
    assert span(seconds) == said
