"""Mutual TLS: a broker that asks who speaks to it, and believes its own authority alone. Each test runs with both clients."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.certificates import Authority, Pair
from penstock.testing.kafka import KafkaServer
from penstock.testing.servers import ServerMissing
from penstock_transformer.broker.opening import open_admin, open_intake, open_outlet, open_reader
from penstock_transformer.broker.port import BrokerError, TopicState
from penstock_transformer.broker.records import OutRecord, Partition
from penstock_transformer.broker.settings import BrokerSettings

# kafka-python leaves the socket of a refused handshake to the garbage collector, which `collected` calls while this holds.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves to the collector is collected before another test is blamed for it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """The broker's certificate, a client's, and one of an authority that the broker does not know."""
    folder = tmp_path_factory.mktemp("mutual")
    ours, other = Authority("ours"), Authority("other")
    ours.write(folder / "ca.pem")
    return {name: authority.issue(folder, name) for name, authority in (("broker", ours), ("client", ours), ("stranger", other))}


@pytest.fixture(scope="module")
def asking(pairs: dict[str, Pair]) -> Iterator[KafkaServer]:
    try:
        server = KafkaServer(tls=pairs["broker"], authority=_authority(pairs))
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


def test_a_client_with_a_certificate_works(asking: KafkaServer, pairs: dict[str, Pair], client: str, helpers: Any) -> None:
    settings = _shown(asking, pairs, client, "client", kafka_timeout_s=15.0)
    topic = f"mutual-{client}"
    admin = open_admin(settings)
    admin.create(TopicState(topic, 1, 1, {}))
    intake, members = open_intake(settings, f"group-{client}"), helpers.Members()
    intake.subscribe([topic], members)
    outlet = open_outlet(settings, f"mutual-{client}")
    outlet.open()
    outlet.commit([OutRecord(topic, b"k", b"v")], {}, None)
    (record,) = helpers.take(intake, 1)
    outlet.commit([OutRecord(topic, b"k", b"w")], {Partition(topic, 0): record.offset + 1}, intake.group())
    assert [record.value for record in helpers.take(intake, 1)] == [b"w"]
    reader = open_reader(settings)
    assert [record.value for record in reader.read(topic)] == [b"v", b"w"]
    for part in (reader, outlet, intake, admin):
        part.close()


@pytest.mark.parametrize("shown", [None, "stranger"])
def test_a_client_that_cannot_show_who_it_is_is_told_so(
    asking: KafkaServer, pairs: dict[str, Pair], client: str, shown: str | None
) -> None:
    settings = _shown(asking, pairs, client, shown, kafka_timeout_s=3.0)
    with pytest.raises(BrokerError):
        open_admin(settings)
    with pytest.raises(BrokerError):
        open_outlet(settings, f"stranger-{client}").open()


def _authority(pairs: dict[str, Pair]) -> Path:
    return pairs["client"].cert.parent / "ca.pem"


def _shown(asking: KafkaServer, pairs: dict[str, Pair], client: str, shown: str | None, **settings: Any) -> BrokerSettings:
    pair = pairs[shown] if shown else None
    return BrokerSettings(
        kafka_bootstrap=asking.secure_bootstrap,
        kafka_client=client,
        kafka_instance=f"mutual-{client}",
        kafka_security="SSL",
        kafka_ca_file=_authority(pairs),
        kafka_cert_file=pair and pair.cert,
        kafka_key_file=pair and pair.key,
        **settings,
    )
