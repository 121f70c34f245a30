"""Two outlets that take turns: which of them does what."""

import pytest

from penstock_transformer.broker.alternating import Alternating
from penstock_transformer.broker.port import InDoubt, Rebalanced, Retriable


class Recording:
    def __init__(self, name: str, steps: list[str]) -> None:
        self.name = name
        self.steps = steps
        self.failure: Exception | None = None

    def _step(self, what: str) -> None:
        self.steps.append(f"{what} {self.name}")
        if self.failure is not None:
            raise self.failure

    def open(self) -> None:
        self._step("open")

    def commit(self, *_: object) -> None:
        self._step("commit")

    def restore(self) -> None:
        self._step("restore")

    def close(self) -> None:
        self._step("close")


def made() -> tuple[Recording, Recording, Alternating, list[str]]:
    steps: list[str] = []
    first, second = Recording("1", steps), Recording("2", steps)
    return first, second, Alternating(first, second), steps


def test_each_takes_its_turn() -> None:
    _, _, outlet, steps = made()
    outlet.open()
    for _ in range(3):
        outlet.commit([], {}, None)
    outlet.close()
    assert steps[:2] == ["open 1", "open 2"]
    assert [step for step in steps if "commit" in step] == ["commit 1", "commit 2", "commit 1"]
    assert sorted(steps[-2:]) == ["close 1", "close 2"]


def test_the_other_works_before_one_commits() -> None:
    first, _, outlet, steps = made()
    outlet.open()
    first.failure = Rebalanced("an older generation")
    with pytest.raises(Rebalanced):
        outlet.commit([], {}, None)
    # Whether the abort of that failed, too, is known to the outlet alone.
    first.failure = None
    outlet.commit([], {}, None)
    assert steps[-2:] == ["restore 1", "commit 2"]


def test_nothing_is_committed_while_the_other_does_not_work() -> None:
    first, _, outlet, steps = made()
    outlet.open()
    outlet.commit([], {}, None)
    first.failure = Retriable("away")
    with pytest.raises(Retriable):
        outlet.commit([], {}, None)
    first.failure = None
    outlet.commit([], {}, None)
    assert steps[-3:] == ["restore 1", "restore 1", "commit 2"]


def test_one_that_failed_is_restored_with_the_other_before_the_next_turn() -> None:
    first, _, outlet, steps = made()
    outlet.open()
    first.failure = InDoubt("no answer")
    with pytest.raises(InDoubt):
        outlet.commit([], {}, None)
    first.failure = None
    outlet.restore()
    outlet.commit([], {}, None)
    assert sorted(steps[-4:-2]) == ["restore 1", "restore 2"]
    assert steps[-1] == "commit 2"


def test_neither_is_held_when_the_second_cannot_be_opened() -> None:
    _, second, outlet, steps = made()
    second.failure = Retriable("away")
    with pytest.raises(Retriable):
        outlet.open()
    assert steps == ["open 1", "open 2", "close 1"]


def test_both_are_closed_though_one_cannot_be() -> None:
    first, _, outlet, steps = made()
    first.failure = Retriable("away")
    with pytest.raises(Retriable):
        outlet.close()
    assert steps == ["close 1", "close 2"]
