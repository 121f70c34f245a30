"""Settings of the queue monitor, shared by the transformer and the worker."""

from dataclasses import dataclass

from penstock.settings import setting
from penstock_transformer.broker.settings import BrokerSettings


@dataclass(frozen=True, kw_only=True)
class QueuesSettings(BrokerSettings):
    """Where the queues are, and how often they are looked at. Without `kafka_bootstrap` no broker is asked."""

    group_id: str = setting("", "Consumer group, shared by the workers of one model; without it: penstock-<model>.")
    sink_group: str = setting("", "Consumer group of the sinks; without it, made of the database's address.")
    queues_refresh_s: float = setting(
        2.0, "How often the monitor asks Kafka how the queues stand, however many look at it.", unit="s", least=0.1
    )
