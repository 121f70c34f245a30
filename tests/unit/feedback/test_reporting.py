"""Outcomes that wait together are kept together; a place that is away holds nobody else up, and is bounded."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from penstock.errors import Overloaded, UpstreamUnavailable
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.reporting import Reporting, Told


class Place:
    def __init__(self) -> None:
        self.written: list[list[Told]] = []
        self.gate = threading.Event()
        self.fault: Exception | None = None

    def report(self, told: Sequence[Told]) -> None:
        assert self.gate.wait(30)
        if self.fault is not None:
            raise self.fault
        self.written.append(list(told))


def outcome(number: int) -> Outcome:
    return Outcome(f"p{number}", 0, 1.0, "late")


def test_those_that_wait_together_are_written_together_and_answered_after() -> None:
    place = Place()

    async def go() -> Reporting:
        reporting = Reporting(place)
        tasks = [asyncio.create_task(reporting.report("m", outcome(number))) for number in range(20)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        tasks[3].cancel()
        place.gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await reporting.report("m", outcome(20))
        await reporting.close()
        return reporting

    assert asyncio.run(go()).told == 20
    assert len(place.written) <= 3
    assert [told.outcome.id for batch in place.written for told in batch] == [f"p{number}" for number in range(21)]


def test_whoever_cannot_be_served_is_told_why() -> None:
    place = Place()
    place.fault = UpstreamUnavailable("away")

    async def go() -> None:
        reporting = Reporting(place)
        tasks = [asyncio.create_task(reporting.report("m", outcome(number))) for number in range(1600)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await reporting.report("m", outcome(0))
        place.gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in found} == {UpstreamUnavailable, Overloaded}
        place.fault = None
        await reporting.report("m", outcome(1))
        await reporting.close()

    asyncio.run(go())
