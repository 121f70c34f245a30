"""Records and offsets in one transaction, and records alone, on confluent-kafka.

    begin -> records into librdkafka's queue -> offsets -> all written -> commit        each wait has an end
      any error before the commit was asked for: abort; if that fails too, the producer is of no more use until `restore`
      the offsets' call does not come back: the producer is left behind with it, and of no more use until `restore`
      no answer to the commit: in doubt, and of no more use until `restore`
      an error that has no name here (a header of a wrong type): the same, and it goes on as it is

Every delivery is reported back to Python, though only those that fail are kept: without reports librdkafka looks every 10 ms
whether all are written, which is half of a small transaction.

Invariant: `commit` either returns, and everything is durable, or raises; and only InDoubt leaves open which it was.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from penstock.failpoints import failpoint
from penstock_transformer.broker.confluent.bounded_calls import BoundedCalls
from penstock_transformer.broker.confluent.errors import TIMED_OUT, translate, translate_code, translated
from penstock_transformer.broker.confluent.options import Troubles, connection, reach
from penstock_transformer.broker.membership import Membership
from penstock_transformer.broker.port import BrokerError, Fenced, InDoubt, Retriable, TooLargeForTopic
from penstock_transformer.broker.records import OutRecord, Partition
from penstock_transformer.broker.settings import BrokerSettings

_FRAME_BYTES = 2**16
_BATCH_BYTES = 2**18
_UNASSIGNED = -1
# A number of partitions that seems too small is looked up again this much later.
_LOOK_AGAIN_S = 1.0
# A refused record is noticed so soon.
_SLICE_S = 0.05
# What librdkafka itself may add to the time that a call is given.
_GRACE_S = 2.0


class _Client:
    """A producer, with what became of its records."""

    def __init__(self, settings: BrokerSettings, transactional_id: str | None) -> None:
        self._timeout_s = settings.kafka_timeout_s
        self.troubles = Troubles()
        # What the producer calls must not lead back to it: one in a circle lives, with its threads, until the collector comes.
        self.failed: list[Any] = []
        options = connection(settings, self.troubles) | {
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "on_delivery": _noted_in(self.failed),
            "message.max.bytes": settings.record_bytes + _FRAME_BYTES,
            "batch.size": _BATCH_BYTES,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": max(2**17, settings.record_bytes // 512),
            "linger.ms": 1,
            "compression.type": settings.kafka_compression,
            # The broker asks for a moment's patience while the end of the transaction before is still being marked.
            "retry.backoff.ms": 10,
            "message.timeout.ms": int(self._timeout_s * 1000),
        }
        if transactional_id is not None:
            timeout_s = settings.kafka_transaction_timeout_s
            options |= {
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(timeout_s * 1000),
                "message.timeout.ms": int(min(timeout_s, self._timeout_s) * 1000),
                # librdkafka wants both to end before the transaction does.
                "socket.timeout.ms": min(options["socket.timeout.ms"], int(timeout_s * 1000)),
            }
        self.producer = Producer(options)
        self._sizes: dict[str, tuple[int, float]] = {}

    def send(self, record: OutRecord) -> None:
        """Into the queue. Raises BrokerError for a topic that does not exist."""
        size = self._sizes.get(record.topic)
        if size is None:
            size = self._size(record.topic)
        partition = record.partition
        if partition is None:
            partition = _UNASSIGNED
        elif partition >= size[0]:
            if monotonic() - size[1] > _LOOK_AGAIN_S:
                size = self._size(record.topic)
            partition = partition if partition < size[0] else _UNASSIGNED
        # Positional, and only what is there: half of the time of a call by names.
        self.producer.produce(
            record.topic,
            record.value,
            record.key,
            partition,
            timestamp=record.timestamp_ms or 0,
            headers=list(record.headers) if record.headers else None,
        )

    def _size(self, topic: str) -> tuple[int, float]:
        found = self.producer.list_topics(topic, timeout=self._timeout_s).topics.get(topic)
        if found is None or found.error is not None or not found.partitions:
            self.troubles.raise_hopeless()
            error = found.error if found is not None else None
            if error is not None and error.code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                raise translate_code(error, f"looking for topic {topic}")
            raise BrokerError(f"topic {topic} does not exist")
        size = self._sizes[topic] = (len(found.partitions), monotonic())
        return size

    def flush(self) -> None:
        """Until every record has been answered for. Raises Retriable, or what the first refused one reported: librdkafka would
        keep those that come after it until their time is up."""
        until = monotonic() + self._timeout_s
        while self.producer.flush(_SLICE_S):
            self._raise_refused()
            if monotonic() > until:
                self.troubles.raise_hopeless()
                raise Retriable("writing to Kafka: no answer")
        self._raise_refused()

    def _raise_refused(self) -> None:
        """Of records that were only dropped with their transaction the reason comes with the next step of that."""
        for code, _ in self.failed:
            if code.code() not in _SPOILT:
                raise KafkaException(code)

    def give_up(self) -> None:
        """What is queued is not sent any more."""
        # Not waited for: that wait has no end of its own.
        self.producer.purge(blocking=False)

    def failure(self, records: Sequence[OutRecord], error: BaseException | None, at: int | None = None) -> BrokerError | None:
        """What was wrong first: a record's own error says more than that of the transaction it spoilt."""
        known = translate(error, "writing to Kafka", at=at) if error is not None else None
        failed = self.failed.copy()
        self.failed.clear()
        own = [(code, message) for code, message in failed if code.code() not in _SPOILT]
        if isinstance(known, TooLargeForTopic) and known.at is not None:
            return known
        if own and not isinstance(known, Fenced):
            # The broker refuses a whole batch: the largest of it is the one that spoilt it.
            code, message = max(own, key=lambda pair: len(pair[1]))
            return translate_code(code, "writing to Kafka", at=_place(message, records))
        if known is None and failed:
            return translate_code(failed[0][0], "writing to Kafka")
        return known


def _noted_in(failed: list[Any]) -> Callable[[Any, Any], None]:
    """A producer's report of a delivery, of which only failures are kept."""

    def note(error: Any, message: Any) -> None:
        if error is not None:
            failed.append((error, message))

    return note


_SPOILT = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


def _place(message: Any, records: Sequence[OutRecord]) -> int | None:
    topic, key, value = message.topic(), message.key(), message.value()
    for at, record in enumerate(records):
        if record.topic == topic and record.value == value and record.key == key:
            return at
    return None


class ConfluentOutlet:
    """See `broker.port.Outlet`."""

    def __init__(self, settings: BrokerSettings, transactional_id: str) -> None:
        self._settings = settings
        self._id = transactional_id
        self._timeout_s = settings.kafka_timeout_s
        # Longer than its transaction lasts no offset is waited for.
        self._offsets_s = min(settings.kafka_timeout_s, settings.kafka_transaction_timeout_s)
        self._bounded = BoundedCalls()
        self._client: _Client | None = None

    def open(self) -> None:
        """Take the transactional id over."""
        doing = f"opening the producer {self._id}"
        with translated(doing):
            client = _Client(self._settings, self._id)
            reach(client.producer, client.troubles, self._timeout_s)
            client.producer.init_transactions(self._timeout_s)
        self._client = client

    def commit(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: Membership | None) -> None:
        """Write all records and the offsets, or nothing."""
        client = self._client
        if client is None:
            raise Retriable(f"the producer {self._id} is to be restored first")
        producer = client.producer
        at = 0
        try:
            producer.begin_transaction()
            failpoint("worker.begun")
            for record in records:
                client.send(record)
                at += 1
            if offsets:
                # On their way while the records are.
                assert group is not None
                self._send_offsets(client, offsets, group)
            failpoint("worker.offsets_sent")
            client.flush()
            failpoint("worker.produced")
        except (KafkaException, BufferError, BrokerError) as error:
            failure = translate(error, "writing to Kafka")
            if at == len(records) and not client.failed and not isinstance(failure, Fenced):
                # It may be a record that was refused: that spoils the offsets' call first, and is reported a moment later.
                producer.flush(_SLICE_S)
            failure = client.failure(records, error, at if at < len(records) else None) or failure
            self._abort(client, failure)
            raise failure from error
        except Exception as error:
            self._abort(client, error)
            raise
        except BaseException:
            # An interrupt is not held up by an answer.
            self._give_up(client)
            raise
        try:
            producer.commit_transaction(self._timeout_s)
        except KafkaException as error:
            if error.args[0].code() in TIMED_OUT and not error.args[0].txn_requires_abort():
                self._give_up(client)
                raise InDoubt(f"committing: {error}") from error
            failure = client.failure(records, error) or translate(error, "committing")
            self._abort(client, failure)
            raise failure from error
        except BaseException:
            self._give_up(client)
            raise

    def _send_offsets(self, client: _Client, offsets: Mapping[Partition, int], group: Membership) -> None:
        given = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        send = client.producer.send_offsets_to_transaction
        if not self._bounded.call(lambda: send(given, group.metadata, self._offsets_s), self._offsets_s + _GRACE_S):
            # Nothing else can be asked of it. Whoever takes its transactional id over aborts what it has begun.
            self._give_up(client)
            raise Retriable("writing offsets to Kafka: no answer")

    def _abort(self, client: _Client, failure: Exception) -> None:
        """Leave nothing open. A producer that cannot even do that is given up, for another where that is possible at once."""
        if self._client is not client:
            return
        try:
            client.producer.abort_transaction(self._timeout_s)
        except KafkaException:
            self._give_up(client)
            if not isinstance(failure, (Fenced, Retriable)):
                with suppress(BrokerError):
                    self.open()
        client.failed.clear()

    def _give_up(self, client: _Client) -> None:
        self._client = None
        client.give_up()

    def restore(self) -> None:
        """A producer that works again. Nothing is done where it does: none that works has a transaction open between commits."""
        if self._client is None:
            self.open()

    def close(self) -> None:
        """Leave."""
        self._client = None
        self._bounded.close()


class ConfluentProducer:
    """See `broker.port.Producer`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._timeout_s = settings.kafka_timeout_s
        with translated("opening a producer"):
            self._client = _Client(settings, None)

    def send(self, records: Sequence[OutRecord]) -> None:
        """Write all of them."""
        client = self._client
        at = 0
        try:
            for record in records:
                client.send(record)
                at += 1
            waiting = client.producer.flush(self._timeout_s)
        except (KafkaException, BufferError, BrokerError) as error:
            client.producer.flush(self._timeout_s)
            failure = client.failure(records, error, at if at < len(records) else None)
            raise failure or translate(error, "writing to Kafka") from error
        failure = client.failure(records, None)
        if failure is None and waiting:
            client.troubles.raise_hopeless()
            failure = Retriable("writing to Kafka: no answer")
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Leave."""
        self._client.producer.flush(self._timeout_s)
