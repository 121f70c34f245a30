"""Following: what the server says is kept, whatever it forgets, refuses, or how long it is away."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock.errors import Conflict, Forbidden, UpstreamUnavailable
from penstock_cli.rollout import following as module
from penstock_cli.rollout.cluster import Change
from penstock_cli.rollout.following import Following
from penstock_operator.model_version import ModelVersion

Make = Callable[..., ModelVersion]
WAIT_S = 20.0


class Scripted:
    """Plays lists and watches, one after another; the last watch stays silent until it is stopped."""

    def __init__(self, *script: Any) -> None:
        self._script = iter(script)
        self.since: list[str] = []

    def versions(self) -> tuple[list[ModelVersion], str]:
        found = self._next()
        return found, "list"

    def watch(self, since: str) -> Any:
        self.since.append(since)
        return self._next()

    def _next(self) -> Any:
        found = next(self._script)
        if isinstance(found, Exception):
            raise found
        return found


class Events:
    def __init__(self, *events: Any) -> None:
        self._events = events

    def __iter__(self) -> Iterator[Change]:
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield event

    def stop(self) -> None:
        """Nothing holds it."""


def names(following: Following) -> list[str]:
    return sorted(f"{one.name} {one.status.weight}" for one in following.look()[0])


def follow(scripted: Scripted) -> tuple[Following, list[list[str]]]:
    """Look at each change until the script ends with a Forbidden; what was shown."""
    shown = []
    with Following(scripted) as following:  # type: ignore[arg-type]
        while following.wait(WAIT_S):
            try:
                shown.append(names(following))
            except Forbidden:
                return following, shown
    raise AssertionError("it was not told")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(module, "MOST_RETRY_S", 0.001)


def test_changes_are_kept_and_a_watch_goes_on_where_the_last_one_ended(version: Make) -> None:
    first, moved, other = version("a", "Canary", 5), version("a", "Canary", 25), version("b", "Live", 75)
    scripted = Scripted(
        [first], Events(Change(moved, False), Change(other, False)), Events(Change(moved, True)), Forbidden("no more")
    )
    following, _ = follow(scripted)
    assert scripted.since == ["list", moved.resource_version, moved.resource_version]
    assert [one.name for one in following._versions.values()] == ["b"]


def test_what_the_server_has_forgotten_is_listed_anew(version: Make) -> None:
    scripted = Scripted([version("a", "Canary", 5)], Events(Conflict("too old")), [version("a", "Live", 100)], Forbidden("end"))
    following, _ = follow(scripted)
    assert [one.status.weight for one in following._versions.values()] == [100]


def test_a_server_that_is_away_is_waited_for_and_what_was_seen_stays(version: Make) -> None:
    away = UpstreamUnavailable("no answer")
    scripted = Scripted([version("a", "Canary", 5)], Events(away), away, away, [version("a", "Canary", 5)], Forbidden("end"))
    following, shown = follow(scripted)
    assert all(one in ([], ["a 5"]) for one in shown)
    assert [one.name for one in following._versions.values()] == ["a"]
    assert following._away is None
