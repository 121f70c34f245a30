"""What pause, resume, promote and rollback write, and what they refuse; which version a name means; how a wait ends."""

from collections.abc import Callable

import pytest

from penstock.errors import Conflict, InvalidInput, NotFound
from penstock_cli.rollout import pause, promote, resume, rollback
from penstock_cli.rollout.choosing import named, target_of
from penstock_cli.rollout.story import stories_of
from penstock_cli.rollout.waiting import PHASES, Outcome, outcome_of
from penstock_operator.model_version import ModelVersion

Make = Callable[..., ModelVersion]
PAUSED, PROMOTE, ROLLBACK = "penstock.dev/paused", "penstock.dev/promote", "penstock.dev/rollback"


def said(decide: Callable[..., object], *versions: ModelVersion) -> tuple[str, dict[str, str | None]]:
    """Of the last of the versions."""
    (story,) = stories_of(versions, {})
    saying = decide(story, versions[-1])
    return saying.text, dict(saying.annotations)  # type: ignore[attr-defined]


def test_pause_and_resume(version: Make) -> None:
    running = version("flights-8", "Canary", 25)
    held = version("flights-8", "Canary", 25, annotations={PAUSED: "true"})
    assert said(pause.decide, running) == ("flights-8 takes no further step; it has 25 % of requests", {PAUSED: "true"})
    assert said(pause.decide, held) == ("flights-8 is paused already", {})
    assert said(resume.decide, held) == ("flights-8 goes on", {PAUSED: None})
    assert said(resume.decide, running) == ("flights-8 is not paused", {})
    with pytest.raises(Conflict, match="flights-8 is Live: there is nothing to pause"):
        said(pause.decide, version("flights-8", "Live", 100))


@pytest.mark.parametrize(
    "weight, annotation, wanted, told, written",
    [
        (0, None, None, "may go to 5 %", "5"),
        (5, None, None, "may go to 25 %", "25"),
        (5, "5", None, "may go to 25 %", "25"),
        (5, "50", None, "may go to 50 % already", None),
        (25, None, 100, "may go to 100 %", "100"),
        (25, None, 5, "may go to 5 % already", None),
        (50, "nonsense", None, "may go to 100 %", "100"),
    ],
)
def test_promote(version: Make, weight: int, annotation: str | None, wanted: int | None, told: str, written: str | None) -> None:
    annotations = {} if annotation is None else {PROMOTE: annotation}
    text, found = said(
        lambda _, one: promote.decide(one, wanted), version("flights-8", "Canary", weight, annotations=annotations)
    )
    assert told in text
    assert found == ({} if written is None else {PROMOTE: written})


def test_what_cannot_be_promoted(version: Make) -> None:
    with pytest.raises(InvalidInput, match="one of its steps 5, 25, 50, 100, got 30") as caught:
        promote.decide(version("flights-8", "Canary", 5), 30)
    assert caught.value.field == "--to"
    with pytest.raises(Conflict, match="is Failed"):
        promote.decide(version("flights-8", "Failed"), None)
    assert promote.decide(version("flights-8", "Live", 100), None).annotations == {}
    assert promote.decide(version("flights-8", "Canary", 5, rollout={"strategy": "immediate"}), None).annotations == {}
    held = version("flights-8", "Canary", 5, annotations={PAUSED: "true"})
    assert "penstock rollout resume flights-8" in promote.decide(held, None).text


def test_rollback(version: Make) -> None:
    def decide(story: object, one: ModelVersion) -> object:
        return rollback.decide(story, one, " slow ")  # type: ignore[arg-type]

    live, kept = version("flights-7", "Live", 75), version("flights-6", "Kept")
    assert said(decide, live, version("flights-8", "Canary", 25)) == ("flights-8 gives its requests back", {ROLLBACK: "slow"})
    assert said(decide, kept, live)[0] == "flights-7 gives its requests back"
    assert said(decide, live)[0] == "flights-7 gives its requests back as soon as another version or bundle can answer"
    assert said(decide, live, kept)[0] == "flights-6 is not kept for a roll-back any longer"
    assert said(decide, version("flights-8", "RolledBack", annotations={ROLLBACK: "bad"}))[1] == {}
    with pytest.raises(Conflict, match="is Failed: it gets no requests"):
        said(decide, version("flights-8", "Failed"))


def test_a_name_is_a_model_or_a_version(version: Make) -> None:
    old, new = version("flights-7", "Live", 95), version("flights-8", "Canary", 5)
    other = version("faults-1", "Live", 100, model="faults")
    everything = [old, new, other]
    assert named(everything, None) == everything
    assert named(everything, "flights") == named(everything, "flights-7") == [old, new]
    assert target_of(everything, "flights")[1] is new
    assert target_of(everything, "flights-7")[1] is old
    with pytest.raises(
        NotFound, match="no model and no ModelVersion is called fligths; expected one of the models faults, flight"
    ):
        named(everything, "fligths")
    with pytest.raises(NotFound, match="another --namespace"):
        named([], "flights")
    assert named([], "flights", gone=True) == []
    with pytest.raises(Conflict, match="no version of faults is on its way; name the version that is meant: faults-1"):
        target_of(everything, "faults")


@pytest.mark.parametrize(
    "stage, goal, outcome",
    [
        ("", "Live", None),
        ("Verifying", "Live", None),
        ("Live", "Live", Outcome.REACHED),
        ("Live", "Canary", Outcome.REACHED),
        ("Joining", "Warming", Outcome.REACHED),
        ("Warming", "Shadow", None),
        ("Failed", "Live", Outcome.NEVER),
        ("RolledBack", "Canary", Outcome.NEVER),
        ("Kept", "Live", Outcome.NEVER),
        ("Kept", "Retired", Outcome.REACHED),
        ("Failed", "Failed", Outcome.REACHED),
        ("Canary", "RolledBack", None),
        ("Failed", "RolledBack", Outcome.NEVER),
        ("Live", "Retired", None),
        ("Live", "Paused", Outcome.NEVER),
        ("Canary", "Paused", None),
    ],
)
def test_how_a_wait_ends(version: Make, stage: str, goal: str, outcome: Outcome | None) -> None:
    assert outcome_of(version("flights-8", stage), goal) is outcome


def test_a_status_of_an_older_spec_says_nothing_and_who_is_gone_never_comes(version: Make) -> None:
    assert outcome_of(version("flights-8", "Failed", generation=2), "Live") is None
    assert outcome_of(None, "Live") is Outcome.NEVER
    paused = version("flights-8", "Canary", annotations={PAUSED: "true"})
    assert outcome_of(paused, "Paused") is Outcome.REACHED
    assert outcome_of(paused, "Canary") is Outcome.REACHED
    assert len(set(PHASES)) == 11
