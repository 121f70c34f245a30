"""Settings of asynchronous predictions, shared by the transformer and `penstock serve`."""

from dataclasses import dataclass

from penstock.errors import InvalidInput
from penstock.features.durations import read_duration
from penstock.settings import setting
from penstock_transformer.predictions.object_settings import ObjectSettings
from penstock_transformer.predictions.webhook_settings import WebhookSettings

MEMORY = "memory://"
"""Predictions that end with the process: for tests, and for who wants no file."""


@dataclass(frozen=True, kw_only=True)
class PredictionsSettings(ObjectSettings, WebhookSettings):
    """Where predictions are kept, for how long, and how many may be handed in at once."""

    database: str | None = setting(
        None,
        "Where predictions are kept: sqlite:///PATH, postgresql://, or memory:// for as long as the process lives.",
        secret=True,
    )
    async_rows: int = setting(1000, "A predict request with more rows is answered 202, unless it says Prefer: wait.", unit="rows")
    async_wait_s: float = setting(60.0, "Longest wait that Prefer: wait=n gets.", unit="s")
    async_submits: int = setting(1024, "Predictions that may be on their way into the database at once; more get 429.")
    async_submit_mb: int = setting(256, "Bytes of bodies that may be on their way into the database at once.", unit="MiB")
    async_followers: int = setting(1000, "Callers that may wait for, or follow, predictions of one process at once.")
    results_keep: str = setting("7d", "How long a prediction is kept after it has ended, as 30m or 7d; 0 for ever.")

    def keep_s(self) -> float | None:
        """Seconds that a prediction is kept after its end, None for ever. Raises InvalidInput for what is no duration."""
        return None if self.results_keep == "0" else read_duration(self.results_keep, "results_keep")

    def check_predictions(self, workers: int) -> None:
        """Raises ValueError for settings that no start can make good. `workers`: processes that share the database."""
        if workers > 1 and self.database is not None and not self.database.startswith("postgres"):
            raise ValueError("--database: several --workers need postgresql://; SQLite and memory are for one process")
        try:
            self.keep_s()
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        self.check_webhooks()
