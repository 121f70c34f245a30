"""How a broker is named and logged in to; the transactional id."""

import pytest

from penstock.settings import parse
from penstock_transformer.broker.opening import open_intake, transactional_id
from penstock_transformer.broker.port import BrokerError
from penstock_transformer.broker.settings import BrokerSettings, TopicSettings


def given(*arguments: str, **variables: str) -> TopicSettings:
    return parse(TopicSettings, arguments, {f"X_{name}".upper(): value for name, value in variables.items()}, "X")


def test_clear_text_is_what_nothing_said_means() -> None:
    settings = given("--kafka_bootstrap", "one:9092,two:9092")
    assert (settings.kafka_security, settings.encrypts, settings.logs_in) == ("PLAINTEXT", False, False)
    assert settings.instance
    assert settings.record_bytes == 8 * 2**20


def test_a_log_in_takes_its_password_from_a_variable() -> None:
    settings = given("--kafka_security=SASL_SSL", "--kafka_username=alice", kafka_password="secret")
    assert settings.encrypts
    assert settings.logs_in
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    "arguments, variables, wrong",
    [
        (["--kafka_security=SASL_SSL"], {}, "kafka_username"),
        (["--kafka_security=SASL_PLAINTEXT", "--kafka_username=a"], {}, "kafka_password"),
        (["--kafka_security=SASL_SSL", "--kafka_username=a", "--kafka_password=b"], {}, "PASSWORD"),
        (["--kafka_security=SSL"], {"kafka_password": "b"}, "uses no password"),
        (["--kafka_ca_file=/ca.pem"], {}, "uses no certificates"),
        (["--kafka_security=SSL", "--kafka_cert_file=/c.pem"], {}, "kafka_key_file"),
        (["--kafka_client=librdkafka"], {}, "kafka-python, confluent"),
        (["--kafka_replication=0"], {}, "1 or more"),
    ],
)
def test_what_does_not_fit_is_told(
    arguments: list[str], variables: dict[str, str], wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        given(*arguments, **variables)
    assert wrong in capsys.readouterr().err


def test_the_transactional_id_stays_over_restarts_and_differs_between_processes() -> None:
    one, two = BrokerSettings(kafka_instance="worker-0"), BrokerSettings(kafka_instance="worker-1")
    assert transactional_id(one, "flights") == "penstock-flights-worker-0"
    assert transactional_id(one, "flights") != transactional_id(two, "flights")


def test_nothing_is_opened_without_brokers() -> None:
    with pytest.raises(BrokerError, match="--kafka_bootstrap"):
        open_intake(BrokerSettings(), "group")
