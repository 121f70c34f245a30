"""`penstock-transformer relay`: predictions that were submitted to the database go to Kafka, each once.

settings -> Service (health and metrics) -> start hook opens database and Kafka's topics -> ready: relay
SIGTERM -> not ready -> the batch under way is finished, the slot given back -> exit 0
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress

from penstock.errors import UpstreamUnavailable
from penstock.lifecycle import Lifecycle, StopPhase
from penstock.serving.server import Service
from penstock_transformer.bare_service import bare_service
from penstock_transformer.broker.opening import open_outlet
from penstock_transformer.part import Part, run_part
from penstock_transformer.predictions.changes import ANY_MODEL
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.intents import DatabaseIntents
from penstock_transformer.relay.link import KafkaLink
from penstock_transformer.relay.machine import RelayMachine
from penstock_transformer.relay.markers import KafkaMarkers
from penstock_transformer.relay.metrics import RelayMetrics
from penstock_transformer.relay.settings import RelaySettings
from penstock_transformer.relay.shell import RelayShell
from penstock_transformer.relay.topics import RelayTopics

DESCRIPTION = "Publish submitted predictions to Kafka, each exactly once."
_MEASURE_S = 2.0


class Relay(Part):
    """One relay with what it stands on."""

    def __init__(self, settings: RelaySettings) -> None:
        super().__init__()
        self._predictions = open_predictions(settings.database)
        self._intents = DatabaseIntents(self._predictions.engine, self._predictions)
        topics = RelayTopics(settings)
        link = KafkaLink(lambda name: open_outlet(settings, name), KafkaMarkers(settings), topics.requests, topics.markers)
        self._machine = RelayMachine(settings.relay_limits())
        self.metrics = RelayMetrics(self._machine)
        owner = f"{settings.instance}:{os.urandom(8).hex()}"
        self._shell = RelayShell(self._machine, self._intents, link, owner=owner, lease_s=settings.relay_lease_s)
        self._running: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the database, begin to relay."""
        await self._predictions.start()
        self._predictions.arrivals(ANY_MODEL, self._shell.wake)
        self._running = asyncio.create_task(self._shell.run())
        self.ends_with(self._running, "relay ended")
        self._measuring = asyncio.create_task(self._measure())

    def check(self) -> str | None:
        """Why it is not publishing, for readiness."""
        if self._running is None or self._running.done():
            return "not running"
        return self._shell.failing or (None if self._machine.slot is not None else "no slot yet")

    async def stop(self) -> None:
        """Finish the batch under way and give the slot back."""
        self.leaving = True
        self._shell.stop()
        if self._running is not None:
            await asyncio.wait([self._running])

    async def close(self) -> None:
        """Let the database go."""
        self.leaving = True
        tasks = [task for task in (self._measuring, self._running) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._predictions.close()

    async def _measure(self) -> None:
        while True:
            with suppress(UpstreamUnavailable):
                self.metrics.waiting = await self._intents.waiting()
            await asyncio.sleep(_MEASURE_S)


def build(settings: RelaySettings) -> tuple[Service, Relay]:
    """The service of the process, and the relay in it. Nothing is connected yet."""
    lifecycle, relay = Lifecycle(), Relay(settings)
    lifecycle.on_start("relay", relay.start)
    lifecycle.add_check("relay", relay.check)
    lifecycle.on_stop("relay", relay.stop, StopPhase.FINISH)
    lifecycle.on_stop("database", relay.close, StopPhase.RELEASE)
    return bare_service(settings, lifecycle, relay.metrics.families, title="Penstock relay"), relay


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after a drain, 1 if it cannot go on, 2 for wrong options."""
    run_part(RelaySettings, build, argv, name="relay", description=DESCRIPTION)
