"""The transformer's settings: environment prefix `PENSTOCK_TRANSFORMER`."""

from dataclasses import dataclass

from penstock.serving.options import ServingSettings
from penstock.settings import setting
from penstock_transformer.feedback.settings import LogSettings
from penstock_transformer.predictions.settings import PredictionsSettings
from penstock_transformer.predictor_security import PredictorSecurity
from penstock_transformer.queues.settings import QueuesSettings
from penstock_transformer.route.settings import RouteSettings

PREFIX = "PENSTOCK_TRANSFORMER"
# What KServe's controller has added to every transformer's arguments so far: where they are, later ones may be too.
INJECTED = frozenset({"model_name", "predictor_host", "http_port"})


@dataclass(frozen=True, kw_only=True)
class PipelineSettings(PredictorSecurity, RouteSettings):
    """How requests become predictions; what a transformer inside another process is given, too."""

    model_name: str = setting(text="Name of the model in URLs.")
    feature_store: str | None = setting(
        None,
        "Where stored features are: sqlite:///PATH, redis://, rediss://, postgresql:// or feast:PATH of a feature_store.yaml.",
        secret=True,
    )
    store_timeout_ms: float = setting(1000.0, "A read of the feature store that takes longer is given up.", unit="ms")
    predictor_poll_s: float = setting(5.0, "Without a route: how often the predictor is asked which bundle it holds.", unit="s")
    predictor_timeout_ms: float = setting(30000.0, "Longest call of the predictor, where the caller sets no deadline.", unit="ms")
    connect_timeout_ms: float = setting(2000.0, "Longest wait for a connection to a predictor.", unit="ms")
    predictor_connections: int = setting(32, "Connections to one predictor address at most.")
    connection_age_s: float = setting(
        30.0, "A connection to a DNS name is used for so long, then a new one sees new pods.", unit="s"
    )
    max_batch_rows: int = setting(1024, "Rows that share a feature store read and an encoder run.", unit="rows")
    batches_in_flight: int = setting(4, "Batches that are under way at once.")
    max_delay_ms: float = setting(0.0, "Wait this long for a fuller batch; 0 switches waiting off.", unit="ms")
    follow_delay_ms: float = setting(
        2.0, "While a batch is under way, the next waits this long for company, or until that one is done.", unit="ms"
    )
    max_queue_items: int = setting(4096, "Requests that may wait for a batch.")
    max_queue_mb: int = setting(256, "Bytes of requests that may wait for a batch.", unit="MiB")
    max_call_rows: int = setting(4096, "Rows of one predictor call; more become several.", unit="rows")
    shadow_queue_items: int = setting(256, "Copies of requests that may wait for a shadow bundle; more are dropped.")
    shadow_queue_mb: int = setting(32, "Bytes of copies that may wait for a shadow bundle.", unit="MiB")


@dataclass(frozen=True, kw_only=True)
class TransformerSettings(ServingSettings, PipelineSettings, PredictionsSettings, QueuesSettings, LogSettings):
    """Everything that `penstock-transformer` takes. KServe's controller injects model_name, predictor_host, http_port and
    workers."""

    predictor_host: str = setting("", "HOST[:PORT] of the predictor; not needed with a route.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_route(self.predictor_host)
        self.check_predictions(self.workers)
        self.check_log(self.kafka_bootstrap)
