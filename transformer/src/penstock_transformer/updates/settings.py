"""Settings of feature updates: environment prefix `PENSTOCK_TRANSFORMER`, as for all programs of this image."""

from dataclasses import dataclass
from pathlib import Path

from penstock.serving.options import ServingSettings
from penstock.settings import setting
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.worker.policy import Policy


@dataclass(frozen=True, kw_only=True)
class StreamSettings(TopicSettings):
    """How updates get from their topics into the store; the command line's own options stand in its place there."""

    delivery: str = setting(
        "exactly-once",
        "Dead letters and offsets in one transaction, or without: then a crash may double a dead letter.",
        choices=("exactly-once", "at-least-once"),
    )
    group_id: str = setting("", "Consumer group; without it: penstock-updates-<feature sets>.")
    held_records: int = setting(8192, "Updates that are held from reading to commit.", unit="records", least=1)
    held_mb: float = setting(64.0, "Bytes of updates that are held from reading to commit.", unit="MiB", least=0.001)
    poll_records: int = setting(1000, "Updates that one poll brings at most.", unit="records", least=1)
    batch_rows: int = setting(500, "Rows of one write of the store.", unit="rows", least=1)
    write_timeout_s: float = setting(
        30.0, "A write of the store that takes longer is given up, and tried again.", unit="s", least=0.01
    )

    def group(self, names: tuple[str, ...]) -> str:
        """The consumer group of these feature sets."""
        return self.group_id or f"penstock-updates-{'-'.join(sorted(names))}"

    @property
    def policy(self) -> Policy:
        """The machine's numbers."""
        return Policy(held_records=self.held_records, held_bytes=int(self.held_mb * 2**20))


@dataclass(frozen=True, kw_only=True)
class UpdatesSettings(ServingSettings, StreamSettings):
    """Everything that `penstock-transformer updates` takes."""

    feature_sets: tuple[str, ...] = setting(
        text="Feature sets whose updates are written: those of --features, with commas between."
    )
    features: Path = setting(text="features.yaml of a bundle, or its directory: how the store is laid out.")  # noqa: RUF009
    feature_store: str = setting(
        text="Where the rows go: sqlite:///PATH, redis://, rediss://, postgresql:// or feast:PATH of a feature_store.yaml.",
        secret=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kafka_bootstrap:
            raise ValueError("expected --kafka_bootstrap HOST:PORT: updates are read there")
        if not self.feature_sets:
            raise ValueError("feature_sets: expected the name of one at least")
