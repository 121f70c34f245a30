"""Records and offsets in one transaction, and records alone, on kafka-python.

    begin -> records into the producer's buffers, all written -> offsets -> commit        each wait has an end
      any error before the commit was asked for: abort; if that fails too, the producer is of no more use until `restore`
      no answer to the commit: in doubt, and of no more use until `restore`
      an error that has no name here (a header of a wrong type): the same, and it goes on as it is

Invariant: `commit` either returns, and everything is durable, or raises; and only InDoubt leaves open which it was.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Event
from time import monotonic
from typing import Any

from kafka import KafkaProducer, TopicPartition, errors
from kafka.serializer import Serializer
from kafka.structs import OffsetAndMetadata

from penstock.failpoints import failpoint
from penstock_transformer.broker.kafka_python import compression
from penstock_transformer.broker.kafka_python.errors import translate, translated
from penstock_transformer.broker.kafka_python.options import build, connection
from penstock_transformer.broker.membership import Membership
from penstock_transformer.broker.port import BrokerError, Fenced, InDoubt, Retriable, TooLargeForTopic
from penstock_transformer.broker.records import OutRecord, Partition
from penstock_transformer.broker.settings import BrokerSettings

# A record is bigger on the wire than its parts.
_FRAME_BYTES = 2**16
_BATCH_BYTES = 2**18
_ABORT_MS = 2000
# kafka-python refuses a record without key and value, which Kafka takes: its value is this object until it is written.
_NOTHING = object()


class _Value(Serializer):  # type: ignore[misc]
    """Bytes as they are."""

    def serialize(self, topic: str, headers: Any, data: Any) -> Any:  # noqa: ARG002 (its interface)
        return None if data is _NOTHING else data


class _Client:
    """A producer whose waits have an end."""

    def __init__(self, settings: BrokerSettings, transactional_id: str | None) -> None:
        self._timeout_ms = int(settings.kafka_timeout_s * 1000)
        options: dict[str, Any] = {"enable_idempotence": True}
        if transactional_id is not None:
            timeout_ms = int(settings.kafka_transaction_timeout_s * 1000)
            options = {"transactional_id": transactional_id, "transaction_timeout_ms": timeout_ms}
        options |= {
            "value_serializer": _Value(),
            "allow_auto_create_topics": False,
            # A request that takes longer spoils kafka-python's producer for good: our waits end before.
            "request_timeout_ms": self._timeout_ms + 5000,
            "delivery_timeout_ms": self._timeout_ms + 6000,
            "max_block_ms": self._timeout_ms,
            "metadata_max_age_ms": int(settings.kafka_metadata_age_s * 1000),
            "max_request_size": settings.record_bytes + _FRAME_BYTES,
            "batch_size": _BATCH_BYTES,
            "compression_type": None if settings.kafka_compression == "none" else settings.kafka_compression,
            # The broker asks for a moment's patience at the start of nearly every transaction.
            "retry_backoff_ms": 10,
        }
        try:
            self._producer = build(KafkaProducer, connection(settings, f"penstock-{settings.instance}") | options)
        except RuntimeError as error:
            raise compression.missing("--kafka_compression", error) from error
        self._known: set[str] = set()

    def take_over(self) -> None:
        """Become the only producer with this transactional id."""
        self._producer.init_transactions()

    def begin(self) -> None:
        """Start a transaction."""
        # kafka-python 3.0.12 keeps the offsets that a broker refused, and would commit them with the next transaction's: their
        # records, aborted with the one before, would never be made again.
        self._producer._transaction_manager._pending_txn_offset_commits.clear()
        self._producer.begin_transaction()

    def send(self, record: OutRecord) -> Any:
        """Into the buffers; a future."""
        if record.topic not in self._known:
            self._learn(record.topic)
        partition = record.partition
        if partition is not None and partition not in self._producer._metadata.partitions_for_topic(record.topic):
            partition = None
        value = _NOTHING if record.value is None and record.key is None else record.value
        return self._producer.send(record.topic, value, record.key, list(record.headers), partition, record.timestamp_ms)

    def _learn(self, topic: str) -> None:
        """Wait until the topic's partitions are known. Raises BrokerError if the brokers say that there is none."""
        if self._producer._metadata.partitions_for_topic(topic) is None:
            try:
                self._producer._wait_on_metadata(topic, min(2000, self._timeout_ms))
            except errors.KafkaTimeoutError:
                if self._producer._metadata.brokers() and self._reaches():
                    raise BrokerError(f"topic {topic} does not exist, or none of its partitions has a leader") from None
                raise
        self._known.add(topic)

    def _reaches(self) -> bool:
        """Whether a broker answers."""
        answered = Event()
        future = self._producer._metadata.request_update()
        future.add_both(lambda _: answered.set())
        self._producer._sender.wakeup()
        return answered.wait(1) and bool(future.succeeded())

    def add_offsets(self, offsets: Mapping[Partition, int], metadata: Any) -> None:
        """The group's offsets into the transaction."""
        given = {TopicPartition(*partition): OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
        self._wait(self._producer._transaction_manager.send_offsets_to_transaction(given, metadata))

    @property
    def epoch(self) -> Any:
        """Under which the broker knows this producer. It changes when kafka-python renews the producer after an error of
        sequence: the transaction is gone then, and a commit that waits is answered as if there had been nothing to commit."""
        return self._producer._transaction_manager.producer_id_and_epoch

    def commit(self) -> None:
        """Commit the transaction; all its records are written."""
        self._wait(self._producer._transaction_manager.begin_commit())

    def abort(self) -> None:
        """Abort the transaction. What a refused record left in the buffers may hold that up for ever."""
        self._wait(self._producer._transaction_manager.begin_abort(), min(_ABORT_MS, self._timeout_ms))

    def flush(self) -> None:
        """Until every record has been answered for."""
        self._producer.flush(self._timeout_ms / 1000)

    def _wait(self, result: Any, timeout_ms: int | None = None) -> None:
        """kafka-python's own methods would wait for ever."""
        self._producer._sender.wakeup()
        if not result.wait(timeout_ms or self._timeout_ms):
            raise errors.KafkaTimeoutError(f"no answer within {timeout_ms or self._timeout_ms} ms")

    def close(self, timeout_s: float) -> None:
        """In order, within the time."""
        with suppress(errors.KafkaError):
            self._producer.close(timeout_s)

    def drop(self) -> None:
        """At once, with what is in the buffers."""
        self._producer._sender.force_close()
        # A sender that lives on would fight its successor over their name.
        self._producer._sender.join(self._timeout_ms / 1000)
        self.close(0)


class KafkaPythonOutlet:
    """See `broker.port.Outlet`."""

    def __init__(self, settings: BrokerSettings, transactional_id: str) -> None:
        self._settings = settings
        self._id = transactional_id
        self._client: _Client | None = None

    def open(self) -> None:
        """Take the transactional id over."""
        with translated(f"opening the producer {self._id}"):
            client = _Client(self._settings, self._id)
            try:
                client.take_over()
            except BaseException:
                client.drop()
                raise
            self._client = client

    def commit(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: Membership | None) -> None:
        """Write all records and the offsets, or nothing."""
        client = self._client
        if client is None:
            raise Retriable(f"the producer {self._id} is to be restored first")
        futures: list[Any] = []
        try:
            client.begin()
            epoch = client.epoch
            failpoint("worker.begun")
            futures += map(client.send, records)
            self._await(futures)
            failpoint("worker.produced")
            if offsets:
                assert group is not None
                client.add_offsets(offsets, group.metadata)
            failpoint("worker.offsets_sent")
        except (errors.KafkaError, OSError, BrokerError) as error:
            failure = _first_failure(records, futures, error)
            self._abort(client, failure, futures)
            raise failure from error
        except Exception as error:
            self._abort(client, error, futures)
            raise
        except BaseException:
            # An interrupt is not held up by an answer.
            self._give_up(client)
            raise
        try:
            client.commit()
        except (errors.KafkaError, OSError) as error:
            # Never `abort` now: kafka-python would send the commit that is still in its queue, and then report an abort.
            self._give_up(client)
            failure = translate(error, "committing")
            if isinstance(failure, Fenced):
                raise failure from error
            raise InDoubt(f"committing: {failure}") from error
        except BaseException:
            self._give_up(client)
            raise
        if client.epoch != epoch:
            self._give_up(client)
            raise InDoubt("committing: kafka-python renewed its producer on the way")

    def _await(self, futures: Sequence[Any]) -> None:
        """Until every record is written. Raises what the first that is refused reports."""
        until = monotonic() + self._settings.kafka_timeout_s
        for future in futures:
            if not future.is_done or future.failed():
                future.get(max(0.0, until - monotonic()))

    def _abort(self, client: _Client, failure: Exception, futures: Sequence[Any]) -> None:
        """Leave nothing open. A producer that cannot even do that is given up, for another where that is possible at once; and so
        is one that had a record refused: kafka-python numbers those that come after it wrongly."""
        try:
            if any(future.is_done and future.failed() for future in futures):
                raise errors.TransactionAbortedError
            client.abort()
        except (errors.KafkaError, OSError):
            self._give_up(client)
            if not isinstance(failure, (Fenced, Retriable)):
                with suppress(BrokerError):
                    self.open()

    def _give_up(self, client: _Client) -> None:
        self._client = None
        client.drop()

    def restore(self) -> None:
        """A producer that works again. Nothing is done where it does: none that works has a transaction open between commits."""
        if self._client is None:
            self.open()

    def close(self) -> None:
        """Leave."""
        client, self._client = self._client, None
        if client is not None:
            client.close(self._settings.kafka_timeout_s)


class KafkaPythonProducer:
    """See `broker.port.Producer`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._client: _Client | None = None
        self._open()

    def _open(self) -> _Client:
        with translated("opening a producer"):
            self._client = _Client(self._settings, None)
        return self._client

    def send(self, records: Sequence[OutRecord]) -> None:
        """Write all of them."""
        client = self._client or self._open()
        futures: list[Any] = []
        error: BaseException | None = None
        try:
            futures += map(client.send, records)
            client.flush()
        except (errors.KafkaError, OSError, BrokerError) as raised:
            error = raised
        if any(future.is_done and future.failed() for future in futures):
            # kafka-python's producer refuses everything after one record that was refused.
            self._client = None
            client.drop()
        elif error is None and not all(future.is_done for future in futures):
            error = errors.KafkaTimeoutError("no answer")
        elif error is None:
            return
        raise _first_failure(records, futures, error or errors.KafkaError()) from error

    def close(self) -> None:
        """Leave."""
        if self._client is not None:
            self._client.close(self._settings.kafka_timeout_s)


def _first_failure(records: Sequence[OutRecord], futures: Sequence[Any], error: BaseException) -> BrokerError:
    """What was wrong first: a record's own error says more than that of the transaction it spoilt."""
    known = translate(error, "writing to Kafka", at=len(futures) if len(futures) < len(records) else None)
    if isinstance(known, Fenced) or (isinstance(known, TooLargeForTopic) and known.at is not None):
        return known
    refused = {
        place: translate(future.exception, "writing to Kafka", at=place)
        for place, future in enumerate(futures)
        if future.is_done and future.failed() and not isinstance(future.exception, errors.TransactionAbortedError)
    }
    # What waited behind one that is too large is told the same error.
    large = [place for place, failure in refused.items() if isinstance(failure, TooLargeForTopic)]
    if large:
        return refused[max(large, key=lambda place: records[place].nbytes)]
    return next(iter(refused.values()), known)
