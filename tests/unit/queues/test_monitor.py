"""The monitor's one task over a looker that is scripted: what readers get while it looks, fails, ends."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from prometheus_client.core import Metric

from penstock.errors import Overloaded, UpstreamUnavailable
from penstock.lifecycle import Lifecycle
from penstock_transformer.broker.port import Retriable
from penstock_transformer.predictions.port import Backlog
from penstock_transformer.queues.counts import OTHER, REASONS
from penstock_transformer.queues.lag import PartitionFigures, total
from penstock_transformer.queues.looking import LetterFigures, ModelFigures
from penstock_transformer.queues.metrics import MOST_PARTITIONS, QueueMetrics
from penstock_transformer.queues.monitor import MOST_FOLLOWERS, QueueMonitor

PART = PartitionFigures(0, 0, 10, 4, 6, 1.5, 2.0, 1.0)
FIGURES = ModelFigures(
    "m", [total("m.requests", "requests", "g", [PART])], [], LetterFigures("m.dead-letters", {"crashed": 2}, 1, 1, 0, True)
)


class Scripted:
    """Implements what the monitor uses of a Looker."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.looks = 0
        self.closed = False

    def look(self) -> ModelFigures:
        self.looks += 1
        found = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, ModelFigures)
        return found

    def close(self) -> None:
        self.closed = True


def running(case: Callable[[QueueMonitor, Lifecycle], Coroutine[Any, Any, None]], looker: Any, **options: Any) -> None:
    async def whole() -> None:
        lifecycle = Lifecycle()
        monitor = QueueMonitor(lifecycle, looker=looker, refresh_s=0.001, **options)
        await lifecycle.start()
        try:
            async with asyncio.timeout(20):
                await case(monitor, lifecycle)
        finally:
            await lifecycle.stop()

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.001)


def state(monitor: QueueMonitor) -> str:
    broker = monitor.queues().broker
    assert broker is not None
    return broker.state


def test_a_broker_that_goes_leaves_its_figures_and_their_age() -> None:
    looker = Scripted(FIGURES, Retriable("nobody answers"), Retriable("nobody answers"), ZeroDivisionError(), FIGURES)

    async def case(monitor: QueueMonitor, _: Lifecycle) -> None:
        assert state(monitor) == "starting"
        assert monitor.queues().models == []
        seen = []
        async with monitor.follow() as documents:
            async for _number, document in documents:
                broker = json.loads(document)["broker"]
                seen.append((broker["state"], broker["message"]))
                if len(seen) > 3 and broker["state"] == "up":
                    break
                assert broker["state"] == "starting" or monitor.queues().models == [FIGURES]
        assert ("away", "nobody answers") in seen
        assert ("away", "internal error; the log has it") in seen
        await until(lambda: state(monitor) == "up")

    running(case, looker)
    assert looker.closed


def test_readers_cost_the_broker_nothing_and_are_bounded() -> None:
    looker = Scripted(FIGURES)

    async def case(monitor: QueueMonitor, _: Lifecycle) -> None:
        await until(lambda: looker.looks > 0)
        before = looker.looks
        for _reader in range(1000):
            monitor.queues()
        assert looker.looks == before
        monitor._followers = MOST_FOLLOWERS
        with pytest.raises(Overloaded):
            async with monitor.follow():
                pass
        monitor._followers = 0

    running(case, looker)


def test_streams_end_when_the_process_drains() -> None:
    async def case(monitor: QueueMonitor, lifecycle: Lifecycle) -> None:
        monitor._refresh_s = 1000.0
        async with monitor.follow() as documents:
            await anext(documents)
            lifecycle.drain()
            async for _ in documents:
                pass

    running(case, Scripted(FIGURES))


def test_a_database_that_is_away_is_said_beside_what_was_known() -> None:
    script: list[Any] = [[Backlog("m", 2, 1, 5.0), Backlog("n", 0, 1, 6.0)], UpstreamUnavailable("away")]

    async def backlog() -> Any:
        found = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def case(monitor: QueueMonitor, _: Lifecycle) -> None:
        await until(lambda: monitor.queues().database_message == "away")
        queues = monitor.queues("m")
        assert queues.broker is None
        assert queues.database is not None
        assert [(one.model, one.waiting, one.processing) for one in queues.database] == [("m", 2, 1)]

    running(case, None, backlog=backlog)


def test_a_database_look_that_fails_for_no_reason_that_has_a_name_is_not_the_last() -> None:
    script: list[Any] = [ZeroDivisionError(), [Backlog("m", 2, 1, 5.0)]]

    async def backlog() -> Any:
        found = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def case(monitor: QueueMonitor, _: Lifecycle) -> None:
        await until(lambda: bool(monitor.queues().database))
        assert monitor.queues().database_message is None

    running(case, None, backlog=backlog)


def test_metrics_have_bounded_labels() -> None:
    parts = [PartitionFigures(number, 0, 10, 4, 6, 1.5, 2.0, 1.0) for number in range(3 * MOST_PARTITIONS)]
    figures = ModelFigures("m", [total("m.requests", "requests", "g", parts)], [], FIGURES.dead_letters)

    async def case(monitor: QueueMonitor, _: Lifecycle) -> None:
        await until(lambda: bool(monitor.queues().models))
        families: dict[str, Metric] = {family.name: family for family in QueueMetrics(monitor).families()}
        assert len(families["penstock_queue_lag_records"].samples) == MOST_PARTITIONS
        assert families["penstock_queue_lag_seconds"].samples[0].value == 1.5
        letters = families["penstock_queue_dead_letters"].samples
        assert [(sample.labels["reason"], sample.value) for sample in letters] == [("crashed", 2)]
        assert families["penstock_queue_broker_up"].samples[0].value == 1
        assert len(REASONS | {OTHER}) < 30

    running(case, Scripted(figures))
