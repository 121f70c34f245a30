"""Where the partitions of a member of a group are read from.

    comes -> kept back -> the group's offset is known -> read from there
                          not known yet (a transaction is open on it, no answer) -> asked again later; the others are read

Left to itself librdkafka asks for the offset too. But if the assignment changes while it asks, it takes "a transaction is open on
this offset" for "there is none", and reads from the earliest record: all of a partition a second time.

Invariant: nothing is given out of a partition that waits for its place, nor of one that is paused.
"""

from collections import deque
from collections.abc import Sequence
from time import monotonic, sleep

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from penstock_transformer.broker.confluent.errors import translate, translated
from penstock_transformer.broker.confluent.group_offsets import GroupOffsets
from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.records import Partition

# Who asks keeps the partitions that are being read waiting.
_ASKING_S = 0.25
_ASK_AGAIN_S = 0.25
_SLICE_S = 0.01


class Places:
    """Of one consumer; for the thread that polls. Raises BrokerError."""

    def __init__(self, consumer: Consumer, offsets: GroupOffsets, timeout_s: float) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._timeout_s = timeout_s
        self._waiting: deque[Partition] = deque()
        self._ask_again = 0.0
        self._paused: set[Partition] = set()

    def come(self, partitions: Sequence[Partition]) -> None:
        """These are assigned, from inside librdkafka's callback: until `settle` nothing is read of them."""
        places = [TopicPartition(*partition, OFFSET_BEGINNING) for partition in partitions]
        with translated("taking partitions"):
            self._consumer.incremental_assign(places)
            self._consumer.pause(places)
        self._waiting.extend(partitions)
        self._ask_again = 0.0

    def go(self, partitions: Sequence[Partition]) -> None:
        """These are ours no more."""
        self._waiting = deque(partition for partition in self._waiting if partition not in partitions)
        self._paused.difference_update(partitions)

    def settle(self) -> None:
        """Read what waits from where the group stands in it, as far as that is soon known. To be called again and again."""
        now = monotonic()
        while self._waiting and now >= self._ask_again:
            partition = self._waiting[0]
            if not self._settled(partition):
                self._waiting.rotate(-1)
                self._ask_again = monotonic() + _ASK_AGAIN_S
            elif monotonic() > now + _ASKING_S:
                return

    def _settled(self, partition: Partition) -> bool:
        try:
            offset = self._offsets.of([partition], _ASKING_S)[partition]
        except Retriable:
            return False
        return self._seek(partition, OFFSET_BEGINNING if offset is None else offset)

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from this offset."""
        until = monotonic() + self._timeout_s
        while not self._seek(partition, offset):
            if monotonic() >= until:
                raise Retriable(f"seeking in {partition}: not ready")
            sleep(_SLICE_S)

    def _seek(self, partition: Partition, offset: int) -> bool:
        try:
            self._consumer.seek(TopicPartition(*partition, offset))
        except KafkaException as error:
            # A partition that was assigned a moment ago takes no seek until librdkafka has looked up where it stands.
            if error.args[0].code() == KafkaError._STATE:
                return False
            raise translate(error, "seeking") from error
        if partition in self._waiting:
            self._waiting.remove(partition)
            if partition not in self._paused:
                self.resume([partition])
        return True

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Keep the records of these back; those that are ours no more are left out."""
        ours = self._ours(partitions)
        self._paused.update(ours)
        with translated("pausing"):
            self._consumer.pause([TopicPartition(*partition) for partition in ours])

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Give the records of these out again."""
        ours = self._ours(partitions)
        self._paused.difference_update(ours)
        with translated("resuming"):
            self._consumer.resume([TopicPartition(*partition) for partition in ours if partition not in self._waiting])

    def _ours(self, partitions: Sequence[Partition]) -> list[Partition]:
        assigned = {(place.topic, place.partition) for place in self._consumer.assignment()}
        return [partition for partition in partitions if partition in assigned]
