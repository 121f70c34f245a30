"""What every part that speaks to Kafka is told: where the brokers are, which client, which names, limits of time and of size.
Each program's own settings inherit from these, so that the same option means the same everywhere.
"""

import socket
from dataclasses import dataclass

from penstock.settings import setting
from penstock_transformer.broker.security import KafkaSecurity

CLIENTS = ("kafka-python", "confluent")
# A record that a topic took comes whole, though it is over our own limits; a connection that refused it would never get past it.
# Not more: what TLS and HTTP say to somebody who speaks neither would be read as an answer of 336 and 1157 MiB, and waited for.
_ANSWER_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class BrokerSettings(KafkaSecurity):
    """The connection to Kafka."""

    kafka_bootstrap: str = setting("", "HOST:PORT[,HOST:PORT…] of Kafka's brokers; without it there is no Kafka.")
    kafka_client: str = setting("kafka-python", "Which client speaks to them; confluent is the faster one.", choices=CLIENTS)
    kafka_instance: str = setting(
        "", "Name of this process that it keeps over restarts and shares with none; without it: the host's."
    )
    kafka_transaction_timeout_s: float = setting(
        10.0, "What a dead process left open is aborted after this; readers wait so long.", unit="s", least=1
    )
    kafka_session_timeout_s: float = setting(
        20.0, "A member that is silent for so long is given up and its partitions go to others.", unit="s", least=0.5
    )
    kafka_poll_interval_s: float = setting(
        300.0, "A member that does not ask for records for so long leaves the group.", unit="s", least=1
    )
    kafka_timeout_s: float = setting(30.0, "Longest wait for the brokers in one call.", unit="s", least=0.1)
    kafka_metadata_age_s: float = setting(
        5.0, "New partitions of a topic, and new models' topics, are noticed within this.", unit="s", least=0.1
    )
    kafka_record_mb: float = setting(
        8.0, "Largest record that is written; what a topic takes beyond it is read.", unit="MiB", least=0.001, most=512
    )
    kafka_fetch_mb: float = setting(32.0, "Bytes that are fetched ahead.", unit="MiB", least=0.1)
    kafka_compression: str = setting(
        "none", "How what is written is compressed.", choices=("none", "gzip", "snappy", "lz4", "zstd")
    )

    @property
    def record_bytes(self) -> int:
        """Largest record, in bytes."""
        return int(self.kafka_record_mb * 2**20)

    @property
    def fetch_bytes(self) -> int:
        """What is fetched ahead, in bytes: one largest record at least."""
        return max(int(self.kafka_fetch_mb * 2**20), self.record_bytes)

    @property
    def answer_bytes(self) -> int:
        """Largest answer of a broker, in bytes."""
        return max(_ANSWER_BYTES, self.fetch_bytes + self.record_bytes + 2**21)

    @property
    def instance(self) -> str:
        """The name of this process."""
        return self.kafka_instance or socket.gethostname()


@dataclass(frozen=True, kw_only=True)
class TopicSettings(BrokerSettings):
    """What topics shall be like, for the parts that look after them."""

    kafka_create_topics: bool = setting(False, "Create topics that do not exist.")
    kafka_partitions: int = setting(6, "Partitions of a new topic.", least=1)
    kafka_replication: int = setting(3, "Brokers that keep a copy of each record.", least=1)
    kafka_min_insync: int = setting(2, "Copies that must be there before a record counts as written.", least=1)
    kafka_retention_h: float = setting(168.0, "How long records are kept.", unit="h", least=0.01)
