"""The log sink's settings: environment prefix `PENSTOCK_TRANSFORMER`, as for all programs of this image."""

from dataclasses import dataclass

from penstock.errors import InvalidInput
from penstock.features.durations import read_duration
from penstock.serving.options import ServingSettings
from penstock.settings import setting
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.feedback.kafka import log_topic, outcomes_topic
from penstock_transformer.feedback.sink.bounds import Bounds, read_bounds

EVERY_MODEL = r"^.+\.(log|outcomes)$"


@dataclass(frozen=True, kw_only=True)
class LogSinkSettings(ServingSettings, TopicSettings):
    """Everything that `penstock-transformer log-sink` takes."""

    log_dir: str = setting(text="Folder that the log is kept in, a folder a model below it.")
    models: tuple[str, ...] = setting((), "Names of the models, comma-separated; without any: every model's topics that exist.")
    log_sink_group: str = setting("penstock-log-sink", "Consumer group, shared by the sinks of one folder and by no others.")
    log_part_s: float = setting(
        60.0, "A file is written at least so often while there is something to write.", unit="s", least=0.1
    )
    log_part_rows: int = setting(50_000, "Rows that are held for one file at most.", least=1)
    log_part_mb: float = setting(64.0, "Bytes of records that are held for one file at most.", unit="MiB", least=0.001)
    log_keep: str = setting("30d", "How long predictions and outcomes are kept, as 12h or 30d; 0 for ever.")
    log_tidy_s: float = setting(3600.0, "How often what is old is removed, and outcomes are settled.", unit="s", least=0.1)
    outcome_wait: str = setting("24h", "How long an outcome waits for its prediction before it counts as unknown.")
    quality_s: float = setting(
        60.0,
        "How often the bundles' quality is worked out; seldomer where that would take more than a tenth of a core; 0: never.",
        unit="s",
    )
    quality_window: str = setting(
        "7d", "Over which predictions it is worked out, by when they were made: outcomes that come later are not in it."
    )
    quality_most_rows: int = setting(
        200_000, "Rows of a model that are looked at; of more in the window the newest.", unit="rows", least=1
    )
    quality_bounds: tuple[str, ...] = setting(
        (), "Measures and from where on they are bad, as accuracy=0.7,cost=12: /metrics says which bundles are beyond."
    )
    quality_rows: int = setting(100, "Rows with an outcome that a bundle must have for that.", unit="rows", least=1)
    poll_records: int = setting(1000, "Records that one poll brings at most.", unit="records", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kafka_bootstrap:
            raise ValueError("expected --kafka_bootstrap HOST:PORT: the sink reads there")
        for name in ("log_keep", "outcome_wait", "quality_window"):
            try:
                self.seconds(name)
            except InvalidInput as error:
                raise ValueError(str(error)) from None
        read_bounds(self.quality_bounds, self.quality_rows)

    @property
    def bounds(self) -> Bounds:
        """Of the bundles' quality."""
        return read_bounds(self.quality_bounds, self.quality_rows)

    def seconds(self, name: str) -> float | None:
        """A duration among the settings; None for `0`. Raises InvalidInput for what is no duration."""
        text = getattr(self, name)
        return None if text == "0" else read_duration(text, name)

    @property
    def topics(self) -> list[str]:
        """What to subscribe to."""
        return [name(model) for model in self.models for name in (log_topic, outcomes_topic)] or [EVERY_MODEL]
