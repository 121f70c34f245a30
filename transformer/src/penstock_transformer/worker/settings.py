"""The worker's settings: the transformer's, the broker's, and how much it holds and commits at once."""

from dataclasses import dataclass

from penstock.serving.options import ServingSettings
from penstock.settings import setting
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.feedback.settings import LogSettings
from penstock_transformer.predictions.object_settings import ObjectSettings
from penstock_transformer.queues.settings import QueuesSettings
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.worker.policy import Policy

DELIVERIES = ("exactly-once", "at-least-once")


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(ServingSettings, PipelineSettings, TopicSettings, QueuesSettings, ObjectSettings, LogSettings):
    """Everything that `penstock-transformer worker` takes."""

    predictor_host: str = setting("", "HOST[:PORT] of the predictor; not needed with a route.")
    delivery: str = setting(
        "exactly-once",
        "Predictions and offsets in one transaction, or without: sooner, and doubled after a crash.",
        choices=DELIVERIES,
    )
    held_records: int = setting(8192, "Records that are held from reading to commit.", unit="records", least=1)
    held_mb: float = setting(256.0, "Bytes of records that are held from reading to commit.", unit="MiB", least=0.001)
    transaction_records: int = setting(2000, "Records that one transaction writes.", unit="records", least=1)
    transaction_mb: float = setting(16.0, "Bytes that one transaction writes.", unit="MiB", least=0.001)
    transaction_interval_ms: float = setting(
        5.0,
        "Least time between the begins of two transactions, if there are any: less work, and readers wait; 0 for none.",
        unit="ms",
    )
    poll_records: int = setting(1000, "Records that one poll brings at most.", unit="records", least=1)
    gather_ms: float = setting(
        5.0,
        "Records that trickle in are gathered for so long; one that comes alone waits for nothing. 0 for none.",
        unit="ms",
        most=1000,
    )
    drain_delay_s: float = setting(
        0.0, "After SIGTERM, keep working (reporting not ready) for so long: nobody routes to a worker, so not at all.", unit="s"
    )
    max_queue_items: int = setting(16384, "Requests that may wait for a batch.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_route(self.predictor_host)
        self.check_log(self.kafka_bootstrap)
        if not self.kafka_bootstrap:
            raise ValueError("expected --kafka_bootstrap HOST:PORT: the worker reads its records there")

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.group_id or f"penstock-{self.model_name}"

    @property
    def policy(self) -> Policy:
        """The machine's numbers."""
        return Policy(
            held_records=self.held_records,
            held_bytes=int(self.held_mb * 2**20),
            transaction_records=self.transaction_records,
            transaction_bytes=int(self.transaction_mb * 2**20),
            interval_s=self.transaction_interval_ms / 1e3 if self.delivery == "exactly-once" else 0.0,
        )
