"""The parts of the broker that the monitor looks with, opened by the settings; clients are imported only then."""

from dataclasses import replace
from typing import Protocol

from penstock_transformer.broker.opening import open_reader
from penstock_transformer.broker.port import Admin, Reader
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.worker.box_opening import KafkaBroker

# A look that takes longer is given up: what is shown is then told to be old.
_LOOK_TIMEOUT_S = 8.0
_GLANCE_MB = 0.1


class Parts(Protocol):
    """What a look at the queues needs. Each call raises Retriable (the broker is away) or BrokerError."""

    def admin(self) -> Admin: ...

    def reader(self) -> Reader:
        """For dead letters and marks, as they come."""

    def glance(self) -> Reader:
        """For one record here and there: it fetches little at a time."""


class KafkaParts(KafkaBroker):
    """Implements `Parts`."""

    def __init__(self, settings: BrokerSettings) -> None:
        hurried = replace(settings, kafka_timeout_s=min(settings.kafka_timeout_s, _LOOK_TIMEOUT_S))
        super().__init__(hurried)
        self._glancing = replace(hurried, kafka_fetch_mb=_GLANCE_MB, kafka_record_mb=_GLANCE_MB / 10)

    def glance(self) -> Reader:
        return open_reader(self._glancing)
