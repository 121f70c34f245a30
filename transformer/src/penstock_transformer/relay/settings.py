"""The relay's settings: environment prefix `PENSTOCK_TRANSFORMER`, as for all programs of this image."""

from dataclasses import dataclass

from penstock.serving.options import ServingSettings
from penstock.settings import setting
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.relay.machine import RelayLimits


@dataclass(frozen=True, kw_only=True)
class RelaySettings(ServingSettings, TopicSettings):
    """Everything that `penstock-transformer relay` takes."""

    database: str = setting(
        text="Where predictions are kept: postgresql:// (an SQLite file belongs to one process).", secret=True
    )
    relay_records: int = setting(500, "Predictions of one batch, which is one transaction.", least=1)
    relay_mb: float = setting(4.0, "Bytes of one batch; one prediction always goes.", unit="MiB", least=0.001)
    relay_lease_s: float = setting(
        10.0, "A relay that was not heard of for so long loses its slot, with its batch, to another.", unit="s", least=0.1
    )
    relay_sweep_s: float = setting(
        5.0, "Without any notification, look for predictions to publish so often.", unit="s", least=0.1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kafka_bootstrap:
            raise ValueError("expected --kafka_bootstrap HOST:PORT: the relay publishes there")

    def relay_limits(self) -> RelayLimits:
        """The machine's bounds."""
        return RelayLimits(
            records=self.relay_records,
            nbytes=int(self.relay_mb * 2**20),
            renew_s=self.relay_lease_s / 3,
            sweep_s=self.relay_sweep_s,
        )
