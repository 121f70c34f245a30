"""`penstock-transformer log-sink`: prediction logs and outcomes from Kafka into a folder of Parquet files.

settings -> Service (health and metrics) -> start: pyarrow there? topics, group -> ready
SIGTERM -> not ready -> what was read is written and committed -> group left -> exit 0
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, Metric

from penstock.lifecycle import Lifecycle, StopPhase
from penstock.serving.server import Service
from penstock_transformer.bare_service import bare_service
from penstock_transformer.broker.opening import open_admin, open_intake
from penstock_transformer.broker.topics import log_topic as topic_state
from penstock_transformer.broker.topics import prepare
from penstock_transformer.feedback.keeping import LogKeeper
from penstock_transformer.feedback.parquet import arrow
from penstock_transformer.feedback.sink.filling import Filling
from penstock_transformer.feedback.sink.judging import Judging
from penstock_transformer.feedback.sink.settings import LogSinkSettings
from penstock_transformer.part import Part, run_part
from penstock_transformer.reaching import reached

DESCRIPTION = "Write prediction logs and outcomes from Kafka to a folder of Parquet files, and tell how good the bundles are."

logger = logging.getLogger(__name__)

_CLOSING_S = 5.0
_FIRST_S = 5.0
_REST = 9.0
"""After each piece of upkeep, so many times as long as it took."""


class LogSinkPart(Part):
    """The sink within the process."""

    def __init__(self, settings: LogSinkSettings) -> None:
        super().__init__()
        self._settings = settings
        self._keeper = LogKeeper(
            Path(settings.log_dir),
            settings.seconds("log_keep"),
            part_s=settings.log_part_s,
            wait_s=settings.seconds("outcome_wait") or 0.0,
            tidy_s=settings.log_tidy_s,
        )
        self._filling: Filling | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.judging = Judging(
            self._keeper.writer.root, settings.seconds("quality_window"), settings.bounds, most_rows=settings.quality_most_rows
        )

    async def start(self) -> None:
        """Make the folder, join the group. Raises NoParquet without pyarrow, BrokerError; waits for a broker that is away."""
        arrow()
        await asyncio.to_thread(self._keeper.start)
        settings = self._settings
        await reached("broker", lambda: asyncio.to_thread(self._prepare))
        intake = await reached("broker", lambda: asyncio.to_thread(open_intake, settings, settings.log_sink_group))
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.call_soon_threadsafe(self._stopped)

        self._filling = Filling(
            intake,
            self._keeper.writer,
            settings.topics,
            part_s=settings.log_part_s,
            part_rows=settings.log_part_rows,
            part_bytes=int(settings.log_part_mb * 2**20),
            poll_records=settings.poll_records,
            ended=ended,
        )
        self._filling.start()
        self._tasks.append(asyncio.create_task(self._every(settings.log_tidy_s, self._tidy)))
        if settings.quality_s:
            self._tasks.append(asyncio.create_task(self._every(settings.quality_s, self.judging.judge)))

    def reason(self) -> str | None:
        """Why it is not ready."""
        if self._filling is None:
            return "not connected yet"
        if self._filling.failure is not None:
            return "stopped"
        if not self._filling.partitions:
            return "no assignment yet"
        return "the log cannot be written at present" if self._filling.held_up else None

    async def stop(self) -> None:
        """Write and commit what was read."""
        self.leaving = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._filling is not None:
            within_s = max(1.0, self._settings.drain_timeout_s - _CLOSING_S)
            if not await asyncio.to_thread(self._filling.stop, within_s):
                logger.warning("the reading thread did not end in time")

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        counts = {} if self._filling is None else self._filling.counts
        records = CounterMetricFamily("penstock_log_sink_records", "Records read, by what they were.", labels=("kind",))
        for kind in ("logged", "outcome", "unreadable"):
            records.add_metric((kind,), counts.get(kind, 0))
        yield records
        yield CounterMetricFamily("penstock_log_sink_parts", "Times that what was held was written.", counts.get("parts", 0))
        yield CounterMetricFamily("penstock_log_sink_faults", "Writes and commits that failed.", counts.get("faults", 0))
        yield from self._keeper.families()
        yield from self.judging.families()

    def _prepare(self) -> None:
        settings = self._settings
        admin = open_admin(settings)
        try:
            wanted = [topic_state(settings, name) for name in settings.topics if not name.startswith("^")]
            for fault in prepare(admin, settings, wanted) if wanted else ():
                logger.warning("a topic is not as it should be", extra={"reason": str(fault)})
        finally:
            admin.close()

    def _tidy(self) -> None:
        self._keeper.tidy(time.time())

    async def _every(self, seconds: float, work: Callable[[], None]) -> None:
        # The first time soon: a sink that starts anew is asked before long.
        await asyncio.sleep(min(seconds, _FIRST_S))
        while True:
            began_s = time.monotonic()
            try:
                await asyncio.to_thread(work)
            except Exception as error:
                logger.warning("the log's upkeep failed", extra={"reason": str(error)})
            # What takes long is done less often: it shares a core with reading Kafka.
            await asyncio.sleep(max(seconds, _REST * (time.monotonic() - began_s)))

    def _stopped(self) -> None:
        self.ended()


def build(settings: LogSinkSettings) -> tuple[Service, LogSinkPart]:
    """The service of the process, and the sink in it. Nothing is connected yet."""
    lifecycle, sink = Lifecycle(), LogSinkPart(settings)
    lifecycle.on_start("log sink", sink.start)
    lifecycle.add_check("log sink", sink.reason, probed=False)  # as for the worker: there may be more pods than partitions
    lifecycle.on_stop("log sink", sink.stop, StopPhase.FINISH)
    service = bare_service(settings, lifecycle, sink.families, title="Penstock log sink")
    sink.judging.add_to(service.admin)
    return service, sink


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after a drain, 1 if it cannot go on, 2 for wrong options."""
    run_part(LogSinkSettings, build, argv, name="log-sink", description=DESCRIPTION)
