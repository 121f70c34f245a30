"""`penstock-transformer sink`: what came of predictions on Kafka is written to the database.

settings -> Service (health and metrics) -> start hook opens the database and joins the group -> ready: sink
SIGTERM -> not ready -> what was read is written and committed -> group left -> exit 0
"""

import asyncio
from collections.abc import Sequence

from penstock.lifecycle import Lifecycle, StopPhase
from penstock.serving.server import Service
from penstock_transformer.bare_service import bare_service
from penstock_transformer.broker.opening import open_intake
from penstock_transformer.part import Part, run_part
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.reaching import reached
from penstock_transformer.sink.machine import SinkMachine
from penstock_transformer.sink.metrics import SinkMetrics
from penstock_transformer.sink.settings import SinkSettings
from penstock_transformer.sink.shell import SinkShell

DESCRIPTION = "Write what came of predictions on Kafka to the database that keeps them."


class Sink(Part):
    """One sink with what it stands on."""

    def __init__(self, settings: SinkSettings) -> None:
        super().__init__()
        self._settings = settings
        self._predictions = open_predictions(settings.database)
        self._machine = SinkMachine(settings.sink_limits())
        self.metrics = SinkMetrics(self._machine)
        self._shell: SinkShell | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the database, join the group. Waits for either that is away."""
        await self._predictions.start()
        settings = self._settings
        intake = await reached("broker", lambda: asyncio.to_thread(open_intake, settings, settings.group))
        self._shell = SinkShell(self._machine, self._predictions, intake, settings.topics, poll_records=settings.sink_records)
        self._running = asyncio.create_task(self._shell.run())
        self.ends_with(self._running, "sink ended")

    def reason(self) -> str | None:
        """Why it is not ready."""
        if self._shell is None or self._running is None:
            return "not connected yet"
        if self._running.done():
            return "stopped"
        if self._machine.held_up:
            return "endings cannot be written at present"
        return None

    async def stop(self) -> None:
        """Write and commit what was read."""
        self.leaving = True
        if self._shell is not None and self._running is not None:
            self._shell.stop()
            await asyncio.wait([self._running])

    async def close(self) -> None:
        """Let the database go."""
        self.leaving = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._predictions.close()


def build(settings: SinkSettings) -> tuple[Service, Sink]:
    """The service of the process, and the sink in it. Nothing is connected yet."""
    lifecycle, sink = Lifecycle(), Sink(settings)
    lifecycle.on_start("sink", sink.start)
    lifecycle.add_check("sink", sink.reason)
    lifecycle.on_stop("sink", sink.stop, StopPhase.FINISH)
    lifecycle.on_stop("database", sink.close, StopPhase.RELEASE)
    return bare_service(settings, lifecycle, sink.metrics.families, title="Penstock sink"), sink


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after a drain, 1 if it cannot go on, 2 for wrong options."""
    run_part(SinkSettings, build, argv, name="sink", description=DESCRIPTION)
