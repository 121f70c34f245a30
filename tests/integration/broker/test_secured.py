"""TLS and log-ins against the real broker, with both clients; what is refused says so and is not retried for ever."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.certificates import Authority
from penstock.testing.kafka import MECHANISMS, KafkaServer
from penstock.testing.servers import ServerMissing
from penstock_transformer.broker.opening import open_admin, open_outlet, open_producer, open_reader
from penstock_transformer.broker.port import BrokerError, TopicState
from penstock_transformer.broker.records import OutRecord
from penstock_transformer.broker.settings import BrokerSettings

# kafka-python leaves the socket of a refused log-in to the garbage collector, which `collected` calls while this holds.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

USERS = {"alice": "wonder-land", "bob": "builder"}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves to the collector is collected before another test is blamed for it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    Authority("other").write(made / "other.pem")
    return made


@pytest.fixture(scope="module")
def secured(folder: Path) -> Iterator[KafkaServer]:
    authority = Authority("ours")
    authority.write(folder / "ca.pem")
    authority.issue(folder, "client")
    try:
        server = KafkaServer(tls=authority.issue(folder, "broker"), users=USERS)
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


def login(secured: KafkaServer, folder: Path, client: str, mechanism: str = "PLAIN", **changes: Any) -> BrokerSettings:
    given: dict[str, Any] = {
        "kafka_bootstrap": secured.secure_bootstrap,
        "kafka_client": client,
        "kafka_instance": f"secured-{client}",
        "kafka_security": "SASL_SSL",
        "kafka_ca_file": folder / "ca.pem",
        "kafka_sasl_mechanism": mechanism,
        "kafka_username": "alice",
        "kafka_password": USERS["alice"],
        "kafka_timeout_s": 15.0,
    }
    return BrokerSettings(**(given | changes))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_tls_and_a_log_in(secured: KafkaServer, folder: Path, client: str, mechanism: str) -> None:
    settings = login(secured, folder, client, mechanism)
    topic = f"secured-{client}-{mechanism.lower()}"
    admin = open_admin(settings)
    admin.create(TopicState(topic, 1, 1, {}))
    producer = open_producer(settings)
    producer.send([OutRecord(topic, b"k", b"v")])
    reader = open_reader(settings)
    assert [record.value for record in reader.read(topic)] == [b"v"]
    for part in (reader, producer, admin):
        part.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password_is_told_and_not_tried_for_ever(secured: KafkaServer, folder: Path, client: str, mechanism: str) -> None:
    settings = login(secured, folder, client, mechanism, kafka_password="wrong")
    with pytest.raises(BrokerError, match=r"(?i)auth") as caught:
        open_admin(settings)
    assert not caught.value.retryable
    assert "wrong" not in str(caught.value)
    outlet = open_outlet(settings, "secured-outlet")
    with pytest.raises(BrokerError, match=r"(?i)auth"):
        outlet.open()


def test_a_broker_that_nobody_vouches_for_is_not_spoken_to(secured: KafkaServer, folder: Path, client: str) -> None:
    settings = login(secured, folder, client, kafka_ca_file=folder / "other.pem", kafka_timeout_s=3.0)
    with pytest.raises(BrokerError):
        open_admin(settings)


def test_no_right_to_a_topic(secured: KafkaServer, folder: Path, client: str) -> None:
    topic = f"forbidden-{client}"
    admin = open_admin(login(secured, folder, client))
    admin.create(TopicState(topic, 1, 1, {}))
    admin.close()
    deny = ["--add", "--deny-principal", "User:bob", "--operation", "Write", "--topic", topic]
    secured.console("kafka-acls", *deny)
    allow = ["--add", "--allow-principal", "User:*", "--operation", "All", "--topic", topic]
    secured.console("kafka-acls", *allow)
    settings = login(secured, folder, client, kafka_username="bob", kafka_password=USERS["bob"])
    outlet = open_outlet(settings, f"forbidden-{client}")
    outlet.open()
    with pytest.raises(BrokerError, match=r"(?i)authoriz") as caught:
        outlet.commit([OutRecord(topic, b"k", b"v")], {}, None)
    assert not caught.value.retryable
    outlet.close()
