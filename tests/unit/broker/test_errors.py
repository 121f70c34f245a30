"""Each client's one table of errors."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from penstock_transformer.broker.confluent.errors import translate as from_confluent
from penstock_transformer.broker.kafka_python.errors import translate as from_kafka_python
from penstock_transformer.broker.port import BrokerError, Fenced, Rebalanced, Retriable, TooLargeForTopic


def kafka_python_errors() -> list[tuple[BaseException, type[BrokerError]]]:
    from kafka import errors

    return [
        (errors.ProducerFencedError(), Fenced),
        (errors.InvalidProducerEpochError(), Fenced),
        (errors.FencedInstanceIdError(), Fenced),
        (errors.CommitFailedError("generation"), Rebalanced),
        (errors.IllegalGenerationError(), Rebalanced),
        (errors.MessageSizeTooLargeError(), TooLargeForTopic),
        (errors.KafkaTimeoutError(), Retriable),
        (errors.NotCoordinatorError(), Retriable),
        (errors.KafkaConnectionError(), Retriable),
        (errors.OutOfOrderSequenceNumberError(), Retriable),
        (ConnectionResetError(), Retriable),
        # What it wraps is named in the text alone.
        (errors.KafkaError("Could not execute: [Error 7] RequestTimedOutError: after 999 ms"), Retriable),
        (errors.KafkaError("we are in an error state: [Error 90] ProducerFencedError"), Fenced),
        (errors.KafkaError("something else"), BrokerError),
        (errors.TopicAuthorizationFailedError(), BrokerError),
        (errors.SaslAuthenticationFailedError(), BrokerError),
    ]


@pytest.mark.parametrize("error, kind", kafka_python_errors(), ids=lambda value: type(value).__name__)
def test_kafka_python(error: BaseException, kind: type[BrokerError]) -> None:
    found = from_kafka_python(error, "doing")
    assert type(found) is kind
    assert "doing" in found.message
    assert found.retryable == (kind is Retriable)


def test_the_brokers_own_words_are_what_kafka_python_is_quoted_with() -> None:
    from kafka import errors

    answer = f"topics=[Result(name='t', error_code=38, error_message=%s, configs=[])]){'x' * 900}"
    for said in ("only 1 broker(s) are registered.", "it's not 'so'"):
        error = errors.InvalidReplicationFactorError(f"Request 'Create({'x' * 900})' failed with {answer % repr(said)}")
        assert from_kafka_python(error, "doing").message == f"doing: InvalidReplicationFactorError: {said}"


@pytest.mark.parametrize(
    "code, kind",
    [
        (KafkaError._FENCED, Fenced),
        (KafkaError.PRODUCER_FENCED, Fenced),
        (KafkaError.FENCED_INSTANCE_ID, Fenced),
        (KafkaError.ILLEGAL_GENERATION, Rebalanced),
        (KafkaError.UNKNOWN_MEMBER_ID, Rebalanced),
        (KafkaError.MSG_SIZE_TOO_LARGE, TooLargeForTopic),
        (KafkaError._TIMED_OUT, Retriable),
        (KafkaError._TRANSPORT, Retriable),
        (KafkaError.NOT_COORDINATOR, Retriable),
        (KafkaError._AUTHENTICATION, BrokerError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, BrokerError),
    ],
)
def test_confluent(code: int, kind: type[BrokerError]) -> None:
    found = from_confluent(KafkaException(KafkaError(code)), "doing")
    assert type(found) is kind
    assert "doing" in found.message


def test_full_buffers_are_a_matter_of_time() -> None:
    assert type(from_confluent(BufferError(), "doing")) is Retriable


def test_an_error_of_ours_stays_as_it_is() -> None:
    error = BrokerError("ours")
    assert from_confluent(error, "doing") is error
    assert from_kafka_python(error, "doing") is error
