"""Settings of the prediction log, shared by the transformer, the worker and `penstock serve`."""

from dataclasses import dataclass

from penstock.errors import InvalidInput
from penstock.features.durations import read_duration
from penstock.settings import setting


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """How many predictions are logged, and where. Without `log_rate` there is no log, and nobody takes outcomes."""

    log_rate: float = setting(0.0, "Share of the requests whose rows and answers are logged, 0 to 1; 0 for no log.", most=1)
    log_rarity: float = setting(
        0.0,
        "How much of that share is spent on answers that are rare, 0 to 1; 1 logs every kind of answer equally often.",
        most=1,
    )
    log_dir: str = setting("", "Folder that the log is kept in; without it, Kafka's topic <model>.log.")
    log_queue_mb: float = setting(
        32.0, "Bytes that may wait to be logged; what does not fit is dropped.", unit="MiB", least=0.001
    )
    log_record_kb: float = setting(256.0, "A request that takes more in the log is left out of it.", unit="KiB", least=1)
    log_part_s: float = setting(60.0, "How often what was logged in a folder becomes a Parquet file.", unit="s", least=0.1)
    log_keep: str = setting("30d", "How long a folder keeps predictions and outcomes, as 12h or 30d; 0 for ever.")

    def check_log(self, bootstrap: str = "") -> None:
        """Raises ValueError for a log that has no place to be, or a duration that is none."""
        if self.log_rate > 0 and not self.log_dir and not bootstrap:
            raise ValueError("--log_rate: expected --log_dir FOLDER or --kafka_bootstrap HOST:PORT, where the log is kept")
        try:
            self.log_keep_s()
        except InvalidInput as error:
            raise ValueError(str(error)) from None

    @property
    def logs_to_kafka(self) -> bool:
        """Whether what is logged goes to `<model>.log`."""
        return self.log_rate > 0 and not self.log_dir

    def log_keep_s(self) -> float | None:
        """Seconds that a folder keeps what is in it, None for ever. Raises InvalidInput for what is no duration."""
        return None if self.log_keep == "0" else read_duration(self.log_keep, "log_keep")
