"""Where the partitions of a member of a group are read from.

    comes -> kept back -> the group's offset is known -> read from there
                          not known yet (a transaction is open on it, no answer) -> asked for again; the others are read

Left to itself librdkafka asks for the offset too. But if the assignment changes while it asks, it takes "a transaction is open on
this offset" for "there is none", and reads from the earliest record: all of a partition a second time.

Invariants: nothing is given out of a partition that waits for its place, nor of one that is paused; no offset is taken that was
asked for before its partition came. librdkafka is given numbers only: where "the beginning" is it would look up, and an answer
that comes after a seek begins that search anew.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from time import monotonic, sleep

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from penstock_transformer.broker.confluent.errors import translate, translated
from penstock_transformer.broker.confluent.group_offsets import GroupOffsets
from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.records import Partition

logger = logging.getLogger(__name__)

_PATIENCE_S = 0.25
_MOST_PATIENCE_S = 3.0
_SLICE_S = 0.01
# What another thread of librdkafka's is at will be over in a moment.
_NOT_READY = frozenset({KafkaError._STATE, KafkaError._PREV_IN_PROGRESS, KafkaError._OUTDATED})

_Waiting = dict[Partition, float]
_Answer = tuple[_Waiting, dict[Partition, int | None]]


class Places:
    """Of one consumer; for the thread that polls, which never waits for an offset. Raises BrokerError."""

    def __init__(self, consumer: Consumer, offsets: GroupOffsets, timeout_s: float) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._timeout_s = timeout_s
        self._ours: set[Partition] = set()
        self._paused: set[Partition] = set()
        # Since when, which tells a partition from the same one that went and came back.
        self._waiting: _Waiting = {}
        self._asker = ThreadPoolExecutor(1, "kafka-offsets")
        self._asking: Future[None] | None = None
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._patience_s = _PATIENCE_S
        self._told = False
        self._closed = False

    def come(self, partitions: Sequence[Partition]) -> None:
        """These are assigned, from inside librdkafka's callback: until `settle` has placed them nothing is read of them."""
        places = [TopicPartition(*partition, 0) for partition in partitions]
        with translated("taking partitions"):
            for place in places:
                # Asks nobody; but only what librdkafka has heard of can be paused.
                self._consumer.get_watermark_offsets(place, cached=True)
            # First, or a fetch may be under way that is out of range, and moves the place when it is answered.
            self._consumer.pause(places)
            self._consumer.incremental_assign(places)
        self._ours.update(partitions)
        self._waiting.update(dict.fromkeys(partitions, monotonic()))

    def go(self, partitions: Sequence[Partition]) -> None:
        """These are ours no more."""
        self._ours.difference_update(partitions)
        self._paused.difference_update(partitions)
        for partition in partitions:
            self._waiting.pop(partition, None)

    def settle(self) -> None:
        """Read what waits from where the group stands in it, as far as that is known. To be called again and again."""
        while not self._answers.empty():
            self._place(*self._answers.get())
        if self._asking is not None:
            if not self._asking.done():
                return
            asking, self._asking = self._asking, None
            asking.result()
            self._patience_s = min(2 * self._patience_s, _MOST_PATIENCE_S)
            self._tell()
        if self._waiting:
            asked = self._waiting.copy()
            self._asking = self._asker.submit(self._ask, asked, sorted(asked), monotonic() + self._timeout_s)

    def _place(self, asked: _Waiting, found: Mapping[Partition, int | None]) -> None:
        placed = [p for p, offset in found.items() if self._waiting.get(p) == asked[p] and self._seek(p, offset or 0)]
        self._read([partition for partition in placed if partition not in self._paused])
        if placed:
            self._patience_s = _PATIENCE_S

    def _ask(self, asked: _Waiting, partitions: list[Partition], until: float) -> None:
        """On the thread that asks. Of partitions that are asked for together librdkafka tells nothing as long as a transaction is
        open on one: then half of them are asked for."""
        try:
            self._answers.put((asked, self._offsets.of(partitions, self._patience_s)))
        except Retriable:
            if len(partitions) == 1 or monotonic() > until or self._closed:
                return
            half = len(partitions) // 2
            self._ask(asked, partitions[:half], until)
            self._ask(asked, partitions[half:], until)

    def _tell(self) -> None:
        waits_s = monotonic() - min(self._waiting.values(), default=monotonic())
        if waits_s > self._timeout_s and not self._told:
            names = sorted(str(partition) for partition in self._waiting)
            logger.warning("offsets of partitions are not known yet", extra={"partitions": names, "waited_s": round(waits_s, 1)})
        self._told = waits_s > self._timeout_s

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from this offset. Of a partition that is not ours nothing is read anyway."""
        until = monotonic() + self._timeout_s
        while partition in self._ours:
            waits = partition in self._waiting
            if self._seek(partition, offset):
                self._read([partition] if waits and partition not in self._paused else [])
                return
            if monotonic() >= until:
                raise Retriable(f"seeking in {partition}: not ready")
            sleep(_SLICE_S)

    def back(self, offsets: Mapping[Partition, int]) -> None:
        """Read on from these offsets where something has been read at all."""
        for partition, offset in offsets.items():
            if partition not in self._waiting:
                self.seek(partition, offset)

    def _seek(self, partition: Partition, offset: int) -> bool:
        """Whether it could be done already."""
        try:
            self._consumer.seek(TopicPartition(*partition, offset))
        except KafkaException as error:
            if error.args[0].code() in _NOT_READY:
                return False
            raise translate(error, "seeking") from error
        self._waiting.pop(partition, None)
        return True

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Keep the records of these back; those that are ours no more are left out."""
        ours = [partition for partition in partitions if partition in self._ours]
        self._paused.update(ours)
        if ours:
            with translated("pausing"):
                self._consumer.pause([TopicPartition(*partition) for partition in ours])

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Give the records of these out again."""
        self._paused.difference_update(partitions)
        self._read([partition for partition in partitions if partition in self._ours and partition not in self._waiting])

    def _read(self, partitions: Sequence[Partition]) -> None:
        if partitions:
            with translated("resuming"):
                self._consumer.resume([TopicPartition(*partition) for partition in partitions])

    def close(self) -> None:
        """Ask no more; what is being asked is waited for."""
        self._closed = True
        self._asker.shutdown(cancel_futures=True)
