"""confluent-kafka's errors as the port's four: the one table, used at this client's edge and nowhere else.

it reports                                                     we raise
_FENCED, PRODUCER_FENCED, INVALID_PRODUCER_EPOCH,              Fenced       a newer producer or member has our name (or our own
FENCED_INSTANCE_ID; _FATAL that says "fenced"                               transaction was open for longer than its time-out)
ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS   Rebalanced   the group has moved on since we asked for `group()`
MSG_SIZE_TOO_LARGE, RECORD_LIST_TOO_LARGE                      TooLargeForTopic
what it calls retriable, time-outs, brokers away               Retriable    nothing is committed
no answer to a commit within the time-out                      InDoubt      (in `outlet`, the only one who can tell)
anything else                                                  BrokerError  no right, wrong password, unknown topic
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from penstock_transformer.broker.port import BrokerError, Fenced, Rebalanced, Retriable, TooLargeForTopic

TIMED_OUT = frozenset({KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError.REQUEST_TIMED_OUT})
_FENCED = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.FENCED_INSTANCE_ID}
)
_REBALANCED = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS})
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_MENDED_BY_ANOTHER_TRY = TIMED_OUT | {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RETRY,
    KafkaError._WAIT_COORD,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._QUEUE_FULL,
    KafkaError._DESTROY,
    KafkaError._LEADER_NOT_AVAILABLE if hasattr(KafkaError, "_LEADER_NOT_AVAILABLE") else KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.CONCURRENT_TRANSACTIONS,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
}


def translate(error: BaseException, doing: str, *, at: int | None = None) -> BrokerError:
    """The port's error for one of confluent-kafka's. `doing` says what was tried; `at` is where a record was too large."""
    if isinstance(error, BrokerError):
        return error
    reported = error.args[0] if isinstance(error, KafkaException) and error.args else None
    if isinstance(reported, KafkaError):
        return translate_code(reported, doing, at=at)
    if isinstance(error, BufferError):
        return Retriable(f"{doing}: the producer's buffers are full")
    return BrokerError(f"{doing}: {type(error).__name__}: {error}"[:500])


def translate_code(error: Any, doing: str, *, at: int | None = None) -> BrokerError:
    """The same for an error that is a value."""
    code = error.code()
    text = f"{doing}: {error.name()}: {error.str()}"[:500]
    if code in _FENCED or (code == KafkaError._FATAL and "fenced" in error.str()):
        return Fenced(text)
    if code in _REBALANCED:
        return Rebalanced(text)
    if code in _TOO_LARGE:
        return TooLargeForTopic(text, at=at)
    if code in _MENDED_BY_ANOTHER_TRY or error.retriable():
        return Retriable(text)
    return BrokerError(text)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Whatever confluent-kafka raises inside, raised as the port's error."""
    try:
        yield
    except (KafkaException, BufferError) as error:
        raise translate(error, doing) from error
