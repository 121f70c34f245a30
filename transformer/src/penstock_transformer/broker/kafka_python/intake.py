"""A member of a consumer group on kafka-python.

kafka-python answers the group's coordinator on a thread of its own, and calls rebalance listeners there. A commit that a listener
waits for must not hold that thread (it sends the heartbeats), so listeners run on another while `poll` waits: to the caller it is
as if `poll` had called them.

Invariant: a record is given out once for each time its partition is assigned, in offset order, and none of a partition after
`revoked` or `lost` has named it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.future import Future
from kafka.structs import OffsetAndMetadata

from penstock_transformer.broker.kafka_python.errors import translated
from penstock_transformer.broker.kafka_python.fetching import look
from penstock_transformer.broker.kafka_python.joining import Joining, forget_answers
from penstock_transformer.broker.kafka_python.options import build, connection
from penstock_transformer.broker.membership import Membership
from penstock_transformer.broker.port import Assignment, Retriable
from penstock_transformer.broker.records import Headers, Partition, Record
from penstock_transformer.broker.settings import BrokerSettings

# A poll looks around so often: after an error of a fetch nothing else would make it try again.
_SLICE_S = 0.25


class KafkaPythonIntake:
    """See `broker.port.Intake`. `instance` makes it a static member; `None` a dynamic one."""

    def __init__(self, settings: BrokerSettings, group: str, instance: str | None) -> None:
        self._timeout_ms = int(settings.kafka_timeout_s * 1000)
        session_ms = int(settings.kafka_session_timeout_s * 1000)
        with translated("joining Kafka"):
            options = connection(settings, f"penstock-{settings.instance}") | {
                "group_id": group,
                "group_instance_id": instance,
                "enable_auto_commit": False,
                "auto_offset_reset": "earliest",
                "isolation_level": "read_committed",
                "allow_auto_create_topics": False,
                "partition_assignment_strategy": [CooperativeStickyAssignor],
                "session_timeout_ms": session_ms,
                "heartbeat_interval_ms": min(3000, session_ms // 4),
                "max_poll_interval_ms": int(settings.kafka_poll_interval_s * 1000),
                "metadata_max_age_ms": int(settings.kafka_metadata_age_s * 1000),
                "fetch_max_bytes": settings.fetch_bytes,
                "receive_message_max_bytes": settings.answer_bytes,
                "max_partition_fetch_bytes": min(settings.fetch_bytes, settings.record_bytes + 2**20),
                "retry_backoff_ms": 50,
            }
            self._consumer = build(KafkaConsumer, options)
        self._joining = Joining(self._consumer._coordinator)
        self._listener: _Listener | None = None
        self._woken = False
        self._bell: Any = None
        self._partitions: dict[TopicPartition, Partition] = {}

    def subscribe(self, topics: Sequence[str], assignment: Assignment) -> None:
        """Join; partitions come and go during `poll`."""
        self._listener = _Listener(assignment, self._consumer._coordinator)
        pattern = next((topic for topic in topics if topic.startswith("^")), None)
        if pattern is not None:
            self._consumer.subscribe(pattern=pattern, listener=self._listener)
        else:
            self._consumer.subscribe(topics=list(topics), listener=self._listener)

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records of partitions that are ours and not paused."""
        until = monotonic() + timeout_s
        while True:
            self._hang_bell()
            self._joining.resume()
            left = 0.0 if self._woken else min(until - monotonic(), _SLICE_S)
            with translated("reading from Kafka"):
                found = look(self._consumer, left, max_records)
            if self._listener is not None:
                self._listener.raise_failure()
            if found or self._woken or monotonic() >= until:
                self._woken = False
                return to_records(found, self._partitions) if found else []

    def wake(self) -> None:
        """Make a `poll` that waits return early."""
        self._woken = True
        bell = self._bell
        if bell is not None:
            # Futures belong to the client's own thread.
            self._consumer._net.call_soon_threadsafe(lambda: bell.is_done or bell.success(None))

    def _hang_bell(self) -> None:
        """kafka-python has no wake-up: a future of ours among the fetches that `poll` waits for is one."""
        if self._bell is None or self._bell.is_done:
            self._bell = _Bell()
            self._consumer._net.call_soon_threadsafe(self._add_bell)

    def _add_bell(self) -> None:
        self._consumer._fetcher._fetch_futures.append(self._bell)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Keep these partitions' records back; those that are ours no more are left out."""
        self._consumer.pause(*self._ours(partitions))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Give these partitions' records out again."""
        self._consumer.resume(*self._ours(partitions))

    def _ours(self, partitions: Sequence[Partition]) -> list[TopicPartition]:
        assigned = self._consumer.assignment() or ()
        return [place for place in _places(partitions) if place in assigned]

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from this offset."""
        self._consumer.seek(TopicPartition(*partition), offset)

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """The group's committed offsets, of transactions that are over."""
        with translated("reading committed offsets"):
            forget_answers(self._consumer._coordinator)
            found = self._consumer._coordinator.fetch_committed_offsets(_places(partitions), timeout_ms=self._timeout_ms)
        result: dict[Partition, int | None] = dict.fromkeys(partitions)
        for place, committed in found.items():
            if committed.offset >= 0:
                result[Partition(place.topic, place.partition)] = committed.offset
        return result

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The last stable offsets."""
        with translated("reading the ends of partitions"):
            try:
                found = self._consumer.end_offsets(_places(partitions), timeout_ms=self._timeout_ms)
            except KeyError as unknown:
                raise Retriable(f"reading the ends of partitions: {unknown} is not known (yet)") from unknown
        return {Partition(place.topic, place.partition): offset for place, offset in found.items()}

    def group(self) -> Membership:
        """The group's metadata of this moment."""
        metadata = self._consumer.group_metadata()
        if metadata.generation_id < 0:
            # A broker takes offsets without a generation from anybody once the group is empty.
            raise Retriable("no member of the group at present")
        return Membership(metadata, self._commit)

    def _commit(self, offsets: Mapping[Partition, int]) -> None:
        given = {TopicPartition(*partition): OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
        with translated("committing offsets"):
            self._consumer.commit(given, timeout_ms=self._timeout_ms)

    def close(self) -> None:
        """Leave the group; a static member goes without saying so."""
        with translated("leaving Kafka"):
            try:
                self._consumer.close(autocommit=False, timeout_ms=self._timeout_ms)
            finally:
                if self._listener is not None:
                    self._listener.close()


class _Bell(Future):  # type: ignore[misc]
    """A future that many polls wait for, one after the other: each forgets the one before, which would be kept for ever."""

    def add_both(self, f: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            if not self.is_done:
                self._callbacks.clear()
                self._errbacks.clear()
        return super().add_both(f, *args, **kwargs)


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Passes the group's changes on, on a thread that may block. What the part raises there, `poll` raises."""

    def __init__(self, assignment: Assignment, coordinator: Any) -> None:
        self._coordinator = coordinator
        self._net = coordinator._net
        self._assignment = assignment
        self._thread = ThreadPoolExecutor(1, "kafka-rebalance")
        self._failure: BaseException | None = None

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        await self._call(self._assignment.assigned, assigned)

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        await self._call(self._assignment.revoked, revoked)

    async def on_partitions_lost(self, lost: Sequence[TopicPartition]) -> None:
        await self._call(self._assignment.lost, lost)

    async def _call(self, method: Any, places: Sequence[TopicPartition]) -> None:
        if not places:
            return
        forget_answers(self._coordinator)
        done = Future()
        partitions = sorted(Partition(place.topic, place.partition) for place in places)

        def run() -> None:
            try:
                method(partitions)
            except BaseException as failure:
                self._failure = failure
            self._net.call_soon_threadsafe(lambda: done.success(None))

        self._thread.submit(run)
        await done

    def raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        self._thread.shutdown(wait=False)


def to_records(found: Mapping[TopicPartition, Sequence[Any]], known: dict[TopicPartition, Partition]) -> list[Record]:
    """kafka-python's records as ours; `known` keeps the partitions met so far."""
    records: list[Record] = []
    for place, messages in found.items():
        partition = known.get(place)
        if partition is None:
            partition = known[place] = Partition(place.topic, place.partition)
        records += [
            Record(partition, got.offset, got.timestamp, got.key, got.value, _headers(got.headers) if got.headers else ())
            for got in messages
        ]
    return records


def _places(partitions: Sequence[Partition]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic, number in partitions]


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    return tuple((name, value or b"") for name, value in headers)
