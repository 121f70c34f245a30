"""The options that confluent-kafka's consumers, producers and administration share, from our settings."""

import logging
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from penstock_transformer.broker.confluent.errors import translate_code
from penstock_transformer.broker.port import BrokerError
from penstock_transformer.broker.settings import BrokerSettings

_LOG = logging.getLogger("penstock.kafka")
# Waiting does not mend these; librdkafka itself would try for ever.
_HOPELESS = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED})


def connection(settings: BrokerSettings, troubles: "Troubles") -> dict[str, Any]:
    """Where the brokers are and how they are spoken to."""
    options: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap,
        "client.id": f"penstock-{settings.instance}",
        "security.protocol": settings.kafka_security,
        "socket.timeout.ms": max(1000, int(settings.kafka_timeout_s * 1000 / 3)),
        "socket.connection.setup.timeout.ms": max(1000, int(settings.kafka_timeout_s * 1000 / 3)),
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": int(settings.kafka_metadata_age_s * 1000),
        "metadata.max.age.ms": int(settings.kafka_metadata_age_s * 3000),
        "allow.auto.create.topics": False,
        "log.connection.close": False,
        # It tells each failed attempt to connect; ours tell what came of it.
        "log_level": 2,
        "logger": _LOG,
        "error_cb": troubles.note,
    }
    files = {"ca": settings.kafka_ca_file, "certificate": settings.kafka_cert_file, "key": settings.kafka_key_file}
    if settings.encrypts:
        options |= {f"ssl.{name}.location": str(path) for name, path in files.items() if path is not None}
    if settings.logs_in:
        options["sasl.mechanism"] = settings.kafka_sasl_mechanism
        options["sasl.username"] = settings.kafka_username
        options["sasl.password"] = settings.kafka_password
    return options


def reach(client: Any, troubles: "Troubles", timeout_s: float) -> None:
    """Wait until a broker answers. Raises what waiting does not mend as soon as it is known, else KafkaException."""
    until = monotonic() + timeout_s
    while True:
        try:
            client.list_topics(timeout=min(1.0, max(0.1, until - monotonic())))
            return
        except KafkaException:
            client.poll(0)
            troubles.raise_hopeless()
            if monotonic() >= until:
                raise


class Troubles:
    """What librdkafka tells beside the calls: kept until the next call, which raises what waiting does not mend."""

    def __init__(self) -> None:
        self._hopeless: BrokerError | None = None

    def note(self, error: Any) -> None:
        """librdkafka's error callback."""
        if error.code() in _HOPELESS:
            self._hopeless = translate_code(error, "connecting to Kafka")

    def raise_hopeless(self) -> None:
        """Raises what was noted last."""
        hopeless, self._hopeless = self._hopeless, None
        if hopeless is not None:
            raise hopeless
