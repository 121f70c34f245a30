"""Opens the prediction log that the settings name, in a folder or on Kafka. Imported only where there is one.

settings --Feedback--> log(model), for a pipeline to write        report(model, outcome), for whoever is told
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, Metric

from penstock.lifecycle import Lifecycle, StopPhase
from penstock.metrics import Metrics
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.feedback.keeping import LogKeeper
from penstock_transformer.feedback.log import LogSink, PredictionLog
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.reporting import OutcomePlace, Reporting
from penstock_transformer.feedback.sampling import Sampler
from penstock_transformer.feedback.settings import LogSettings


class Place(LogSink, OutcomePlace, Protocol):
    """Takes logged requests, and outcomes."""


class Feedback:
    """The prediction logs of one process, one a model, and what takes outcomes. Without a folder `broker` says where Kafka is."""

    def __init__(self, settings: LogSettings, broker: BrokerSettings | None = None) -> None:
        self._settings = settings
        self._broker = broker
        self._logs: list[PredictionLog] = []
        self._keeper: LogKeeper | None = None
        if settings.log_dir:
            self._keeper = LogKeeper(Path(settings.log_dir), settings.log_keep_s(), part_s=settings.log_part_s)
        # Outcomes have a hand of their own: they do not wait behind a log that cannot be written.
        self._outcomes = self._place()
        self._reporting = Reporting(self._outcomes)

    def log(self, model: str) -> PredictionLog:
        """A model's log, to be given to its pipeline."""
        settings = self._settings
        made = PredictionLog(
            Sampler(settings.log_rate, settings.log_rarity),
            self._place(),
            queue_bytes=int(settings.log_queue_mb * 2**20),
            record_bytes=int(settings.log_record_kb * 1024),
            model=model,
        )
        self._logs.append(made)
        return made

    def attach(self, lifecycle: Lifecycle, metrics: Metrics | None) -> None:
        """Begin and end with the process."""
        lifecycle.on_start("prediction log", self.start)
        lifecycle.on_stop("prediction log", self.close, StopPhase.COMMIT)
        if metrics is not None:
            metrics.add_source(self.families)

    async def start(self) -> None:
        """Before the first request. Raises OSError for a folder that cannot be made."""
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.start)
        for log in self._logs:
            await log.start()

    async def close(self) -> None:
        """After the last request: what was taken is written."""
        await asyncio.gather(*(log.close() for log in self._logs))
        await self._reporting.close()
        await asyncio.to_thread(self._outcomes.close)

    async def report(self, model: str, outcome: Outcome) -> None:
        """Return once an outcome is kept. Raises PenstockError (Kafka is away, too many wait), OSError."""
        await self._reporting.report(model, outcome)

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        told = CounterMetricFamily(
            "penstock_outcomes_reported", "Outcomes of predictions that were told over HTTP, and are kept."
        )
        told.add_metric((), self._reporting.told)
        found: dict[str, Metric] = {told.name: told}
        for log in self._logs:
            for family in log.families():
                known = found.setdefault(family.name, family)
                if known is not family:
                    known.samples.extend(family.samples)
        yield from found.values()
        if self._keeper is not None:
            yield from self._keeper.families()

    def _place(self) -> Place:
        if self._keeper is not None:
            return self._keeper
        from penstock_transformer.broker.opening import open_producer
        from penstock_transformer.feedback.kafka import KafkaFeedback

        broker = self._broker
        assert broker is not None, "checked with the settings"
        return KafkaFeedback(lambda: open_producer(broker))
