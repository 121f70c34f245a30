"""The options that kafka-python's consumers, producers and administration share, from our settings."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from kafka.errors import SaslAuthenticationFailedError
from kafka.net.compat import KafkaNetClient

from penstock_transformer.broker.kafka_python.sockets import DIRECT
from penstock_transformer.broker.settings import BrokerSettings

T = TypeVar("T")

# Nothing that this client says at a lower level is of use to an operator, and at its lowest it prints records.
logging.getLogger("kafka").setLevel(logging.WARNING)


def connection(settings: BrokerSettings, client_id: str) -> dict[str, Any]:
    """Where the brokers are and how they are spoken to."""
    options: dict[str, Any] = {
        "bootstrap_servers": [address.strip() for address in settings.kafka_bootstrap.split(",") if address.strip()],
        "client_id": client_id,
        "security_protocol": settings.kafka_security,
        "bootstrap_timeout_ms": int(settings.kafka_timeout_s * 1000),
        "request_timeout_ms": request_timeout_ms(settings),
        "reconnect_backoff_max_ms": 1000,
        "proxy_url": DIRECT,
        # Their upkeep costs a tenth of a record's time, and nobody reads them.
        "metrics_enabled": False,
    }
    files = {"cafile": settings.kafka_ca_file, "certfile": settings.kafka_cert_file, "keyfile": settings.kafka_key_file}
    if settings.encrypts:
        options |= {f"ssl_{name}": str(path) for name, path in files.items() if path is not None}
    if settings.logs_in:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = settings.kafka_password
    return options


def build(kind: Callable[..., T], options: dict[str, Any]) -> T:
    """A client of this kind. Where its making fails, what it had begun by then is ended: kafka-python itself leaves a thread."""
    begun: list[KafkaNetClient] = []
    failures: deque[BaseException] = deque(maxlen=16)

    def begin(**given: Any) -> KafkaNetClient:
        client = KafkaNetClient(**given)
        begun.append(client)
        connect = client._manager.get_connection

        def watched(*arguments: Any, **options: Any) -> Any:
            connection = connect(*arguments, **options)
            connection.init_future.add_errback(failures.append)
            return connection

        client._manager.get_connection = watched
        return client

    try:
        return kind(**options, kafka_client=begin)
    except BaseException as error:
        # A refused log-in is tried until the time is up, and then told as a time-out.
        refused = next((failure for failure in failures if isinstance(failure, SaslAuthenticationFailedError)), None)
        for client in begun:
            client._net.stop(timeout_ms=1000)
            client.close()
        if refused is not None:
            raise refused from error
        raise


def request_timeout_ms(settings: BrokerSettings) -> int:
    """How long one request may take: a third of a call's time, so that it can be made again."""
    return max(1000, int(settings.kafka_timeout_s * 1000 / 3))
