"""The sink's settings: environment prefix `PENSTOCK_TRANSFORMER`, as for all programs of this image."""

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from penstock.serving.options import ServingSettings
from penstock.settings import setting
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.broker.topics import dead_letters_topic, predictions_topic
from penstock_transformer.sink.machine import SinkLimits

# Every model's: what such topics are called, as Intake.subscribe takes patterns.
EVERY_MODEL = r"^.+\.(predictions|dead-letters)$"


def group_of(database: str) -> str:
    """Two databases in one group would each get half of both's endings: so the address makes the name."""
    parts = urlsplit(database)
    address = f"{parts.hostname}:{parts.port or 5432}{parts.path}?{parts.query}"
    return f"penstock-sink-{hashlib.sha256(address.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, kw_only=True)
class SinkSettings(ServingSettings, BrokerSettings):
    """Everything that `penstock-transformer sink` takes."""

    database: str = setting(
        text="Where predictions are kept: postgresql:// (an SQLite file belongs to one process).", secret=True
    )
    models: tuple[str, ...] = setting((), "Names of the models, comma-separated; without any: every model's topics that exist.")
    sink_group: str = setting(
        "", "Consumer group, shared by the sinks of one database and by no others; without it, made of the database's address."
    )
    sink_records: int = setting(500, "Records that one write takes at most.", least=1)
    sink_held_records: int = setting(2000, "Records that may wait to be written before reading pauses.", least=1)
    sink_held_mb: float = setting(64.0, "Bytes of records that may wait to be written before reading pauses.", unit="MiB")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kafka_bootstrap:
            raise ValueError("expected --kafka_bootstrap HOST:PORT: the sink reads there")

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.sink_group or group_of(self.database)

    @property
    def topics(self) -> list[str]:
        """What to subscribe to."""
        return [name(model) for model in self.models for name in (predictions_topic, dead_letters_topic)] or [EVERY_MODEL]

    def sink_limits(self) -> SinkLimits:
        """The machine's bounds."""
        return SinkLimits(
            records=self.sink_records, held_records=self.sink_held_records, held_bytes=int(self.sink_held_mb * 2**20)
        )
