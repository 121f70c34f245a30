"""A member of a consumer group on confluent-kafka. librdkafka fetches on threads of its own and calls rebalance callbacks from
inside `poll`, on the thread that polls.

Invariant: a record is given out once for each time its partition is assigned, in offset order, and none of a partition after
`revoked` or `lost` has named it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from gc import get_referents
from threading import Event
from time import monotonic, sleep
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, TopicPartition

from penstock_transformer.broker.confluent.errors import translate, translate_code, translated
from penstock_transformer.broker.confluent.group_offsets import GroupOffsets
from penstock_transformer.broker.confluent.options import Troubles, connection, reach
from penstock_transformer.broker.confluent.places import Places
from penstock_transformer.broker.confluent.unreadable_headers import UnreadableHeaders
from penstock_transformer.broker.membership import Membership
from penstock_transformer.broker.port import Assignment, BrokerError, Retriable
from penstock_transformer.broker.records import Headers, Partition, Record
from penstock_transformer.broker.settings import BrokerSettings

# librdkafka's wake-up is not to be had from Python: a poll looks so often whether it was woken.
_SLICE_S = 0.01
# A commit on another thread ends only when no poll is under way: polls that follow at once on each other hold it up for seconds.
_ROOM_S = 0.001
# Told as records, and settled by librdkafka itself or by a later rebalance callback.
_PASSING = frozenset(
    {KafkaError._MAX_POLL_EXCEEDED, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._PARTITION_EOF}
)


def consumer_options(settings: BrokerSettings, group: str, troubles: Troubles) -> dict[str, Any]:
    """What a consumer of a group and a reader without one share."""
    return {
        **connection(settings, troubles),
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "fetch.max.bytes": settings.fetch_bytes,
        # librdkafka refuses a fetch that is smaller than what a producer might send, which this never is.
        "message.max.bytes": min(settings.fetch_bytes, 1_000_000),
        "max.partition.fetch.bytes": min(settings.fetch_bytes, settings.record_bytes + 2**20),
        "receive.message.max.bytes": settings.answer_bytes,
        "queued.max.messages.kbytes": max(1, settings.fetch_bytes // 1024),
        "fetch.error.backoff.ms": 50,
    }


class ConfluentIntake:
    """See `broker.port.Intake`. `instance` makes it a static member; `None` a dynamic one."""

    def __init__(self, settings: BrokerSettings, group: str, instance: str | None) -> None:
        self._timeout_s = settings.kafka_timeout_s
        self._troubles = Troubles()
        session_ms = int(settings.kafka_session_timeout_s * 1000)
        options = consumer_options(settings, group, self._troubles) | {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": min(3000, session_ms // 4),
            "max.poll.interval.ms": int(max(settings.kafka_poll_interval_s, settings.kafka_session_timeout_s) * 1000),
        }
        if instance is not None:
            options["group.instance.id"] = instance
        with translated("joining Kafka"):
            self._consumer = Consumer(options)
        with translated("reaching Kafka"):
            reach(self._consumer, self._troubles, self._timeout_s)
        self._static = instance is not None
        self._join_again: Callable[[], None] | None = None
        self._woken = Event()
        self._commits = 0
        self._partitions: dict[tuple[str, int], Partition] = {}
        # Told among records: raised once those are out, for librdkafka tells each once.
        self._failures: list[BrokerError] = []
        self._headers = UnreadableHeaders(settings)
        self._offsets = GroupOffsets(settings, group, settled=True)
        self._places = Places(self._consumer, self._offsets, self._timeout_s)

    def subscribe(self, topics: Sequence[str], assignment: Assignment) -> None:
        """Join; partitions come and go during `poll`."""
        told = _Told(assignment, self._places)
        join = partial(self._consumer.subscribe, list(topics), on_assign=told.assigned, on_revoke=told.revoked, on_lost=told.lost)
        with translated("joining the group"):
            if self._static:
                self._join_twice(list(topics), join)
            else:
                join()

    def _join_twice(self, topics: list[str], join: Callable[[], None]) -> None:
        """To a static member that is back the broker gives what it had, without a rebalance. If it led the group, partitions that
        came meanwhile would be nobody's for ever: so its first assignment is told nobody, and another join follows."""

        def joined(*_: Any) -> None:
            self._join_again = join

        self._consumer.subscribe(topics, on_assign=joined, on_revoke=_ignore, on_lost=_ignore)

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records of partitions that are ours and not paused."""
        until = monotonic() + timeout_s
        while True:
            if self._commits:
                sleep(_ROOM_S)
            self._places.settle()
            left = until - monotonic()
            found = self._consume(min(max(left, 0.0), _SLICE_S), max_records)
            self._troubles.raise_hopeless()
            records = self._read(found) if found else []
            if self._failures and not records:
                raise self._failures.pop(0)
            if records or left <= 0 or self._woken.is_set():
                self._woken.clear()
                return records

    def _consume(self, wait_s: float, max_records: int) -> list[Any]:
        # Asked for many it would wait until it has them all.
        with translated("reading from Kafka"):
            found: list[Any] = self._consumer.consume(1, wait_s)
        if self._join_again is not None:
            join, self._join_again = self._join_again, None
            with translated("joining the group"):
                self._consumer.unsubscribe()
                join()
            # Of the first assignment: read again.
            return [message for message in found if message.error() is not None]
        if found and max_records > 1:
            try:
                found += self._consumer.consume(max_records - 1, 0)
            except KafkaException as error:
                # What the first gave is not given again.
                self._failures.append(translate(error, "reading from Kafka"))
        return found

    def _read(self, found: Sequence[Any]) -> list[Record]:
        try:
            return to_records(found, self._partitions, self._failures, self._headers)
        except BrokerError:
            # None of these was given out: they are read again.
            first = {Partition(m.topic(), m.partition()): m.offset() for m in reversed(found) if m.error() is None}
            self._places.back(first)
            raise

    def wake(self) -> None:
        """Make a `poll` that waits return early."""
        self._woken.set()

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Keep these partitions' records back; those that are ours no more are left out."""
        self._places.pause(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Give these partitions' records out again."""
        self._places.resume(partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from this offset."""
        self._places.seek(partition, offset)

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """The group's committed offsets, of transactions that are over."""
        return self._offsets.of(partitions)

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The last stable offsets."""
        with translated("reading the ends of partitions"):
            return {
                partition: self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=self._timeout_s)[1]
                for partition in partitions
            }

    def group(self) -> Membership:
        """The group's metadata of this moment."""
        if not self._consumer.memberid():
            # A broker takes offsets without a member from anybody once the group is empty.
            raise Retriable("no member of the group at present")
        return Membership(self._consumer.consumer_group_metadata(), self._commit)

    def _commit(self, offsets: Mapping[Partition, int]) -> None:
        given = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        self._commits += 1
        try:
            with translated("committing offsets"):
                for place in self._consumer.commit(offsets=given, asynchronous=False) or ():
                    if place.error is not None:
                        raise translate_code(place.error, "committing offsets")
        finally:
            self._commits -= 1

    def close(self) -> None:
        """Leave the group; a static member goes without saying so."""
        with ExitStack() as closing:
            closing.callback(self._offsets.close)
            closing.callback(self._places.close)
            closing.callback(self._leave)
            closing.callback(self._headers.close)

    def _leave(self) -> None:
        with translated("leaving Kafka"):
            self._consumer.close()


def _ignore(*_: Any) -> None: ...


class _Told:
    """librdkafka's callbacks for a listener, which hears of no partition going that it has not heard of coming."""

    def __init__(self, assignment: Assignment, places: Places) -> None:
        self._assignment = assignment
        self._places = places
        self._ours: set[Partition] = set()

    def assigned(self, _: Any, places: Sequence[Any]) -> None:
        if come := _sorted(places):
            self._places.come(come)
            self._ours.update(come)
            self._assignment.assigned(come)

    def revoked(self, _: Any, places: Sequence[Any]) -> None:
        if gone := self._gone(places):
            self._assignment.revoked(gone)

    def lost(self, _: Any, places: Sequence[Any]) -> None:
        if gone := self._gone(places):
            self._assignment.lost(gone)

    def _gone(self, places: Sequence[Any]) -> list[Partition]:
        gone = [partition for partition in _sorted(places) if partition in self._ours]
        self._ours.difference_update(gone)
        self._places.go(gone)
        return gone


def _sorted(places: Sequence[Any]) -> list[Partition]:
    return sorted(Partition(place.topic, place.partition) for place in places)


def to_records(
    found: Sequence[Any], known: dict[tuple[str, int], Partition], failures: list[BrokerError], unreadable: UnreadableHeaders
) -> list[Record]:
    """confluent-kafka's messages as our records; `known` keeps the partitions met so far. What messages report is added to
    `failures`. Raises BrokerError for headers that cannot be read: then none of the messages was given out."""
    records: list[Record] = []
    for message in found:
        error = message.error()
        if error is not None:
            if error.code() not in _PASSING:
                failures.append(translate_code(error, "reading from Kafka"))
            continue
        place = (message.topic(), message.partition())
        partition = known.get(place)
        if partition is None:
            partition = known[place] = Partition(*place)
        kind, timestamp_ms = message.timestamp()
        offset = message.offset()
        try:
            given = message.headers()
            # A name that is no UTF-8 makes a hole in this list, to touch which ends the process. The collector's way goes around.
            headers = _headers(given) if given and len(get_referents(given)) == len(given) else None
        except (SystemError, UnicodeDecodeError):
            given, headers = True, None
        if headers is None:
            headers = unreadable.of(partition, offset) if given else ()
        records.append(
            Record(
                partition,
                offset,
                -1 if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms,
                message.key(),
                message.value(),
                headers,
            )
        )
    return records


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    return tuple((name, value or b"") for name, value in headers)
