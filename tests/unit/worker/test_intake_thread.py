"""The reading thread by itself: what it polls, and when it waits."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from penstock_transformer.broker.port import Assignment
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.worker.events import Event, Polled
from penstock_transformer.worker.intake_thread import IntakeThread

PARTITION = Partition("m.requests", 0)
DEADLINE_S = 20.0
FOR_EVER_S = 3600.0


class Bringing:
    """An intake whose polls bring so many records each; after the last it waits to be woken. `polled` is set by each poll."""

    def __init__(self, *counts: int) -> None:
        self.left = list(counts)
        self.emptied = threading.Event()
        self._woken = threading.Event()
        self._offset = 0

    def subscribe(self, topics: Sequence[str], assignment: Assignment) -> None: ...

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        if self.left:
            count = self.left.pop(0)
            self._offset += count
            return [Record(PARTITION, self._offset - count + at, 0, None, b"v") for at in range(count)]
        self.emptied.set()
        self._woken.wait(DEADLINE_S)
        return []

    def wake(self) -> None:
        self._woken.set()

    def group(self) -> Any:
        return 1

    def close(self) -> None: ...


class Reading:
    """A thread over an intake; `polls` are how many records each poll told of."""

    def __init__(self, intake: Bringing, gather_s: float) -> None:
        self.polls: list[int] = []
        self.told = threading.Event()
        self.failures: list[Exception] = []
        self.thread = IntakeThread(
            intake,  # type: ignore[arg-type]
            ["m.requests"],
            tell=self._tell,
            release=lambda _, free: free(),
            failed=self.failures.append,
            gather_s=gather_s,
        )
        self.thread.start()

    def _tell(self, event: Event, group: Any) -> None:
        if isinstance(event, Polled):
            self.polls.append(len(event.records))
            self.thread.taken()
            self.told.set()

    def end(self) -> None:
        self.thread.stop()
        assert self.thread.join(DEADLINE_S)
        assert not self.failures


def test_after_a_poll_that_brought_few_the_next_waits_and_a_stop_does_not() -> None:
    intake = Bringing(3, 5)
    reading = Reading(intake, FOR_EVER_S)
    assert reading.told.wait(DEADLINE_S)
    reading.end()
    assert reading.polls == [3]
    assert intake.left == [5]


@pytest.mark.parametrize("counts", [(100, 500, 100), (0, 0)])
def test_after_a_poll_that_brought_many_or_nothing_the_next_follows_at_once(counts: tuple[int, ...]) -> None:
    intake = Bringing(*counts)
    reading = Reading(intake, FOR_EVER_S)
    assert intake.emptied.wait(DEADLINE_S)
    reading.end()
    assert reading.polls[: len(counts)] == list(counts)


def test_without_a_time_to_gather_every_poll_follows_at_once() -> None:
    intake = Bringing(1, 1, 1)
    reading = Reading(intake, 0.0)
    assert intake.emptied.wait(DEADLINE_S)
    reading.end()
    assert reading.polls[:3] == [1, 1, 1]
