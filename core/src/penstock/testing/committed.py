"""The independent reader of a test: what a `read_committed` consumer sees of topics, and how often it sees each id.

    records(bootstrap, "m.requests") -> all that is committed now

It is librdkafka used plainly, and knows nothing of how the records came to be there.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """A record as a reader sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int

    def header(self, name: str) -> bytes | None:
        """The last header of that name."""
        return dict(self.headers).get(name)


def records(bootstrap: str, *topics: str, within_s: float = 30.0) -> list[Seen]:
    """Every committed record of the topics that exist.

    Reads to the topics' ends as they are now, transactions that are still open included: waits until those are over.
    """
    import confluent_kafka as ck

    def consumer(isolation: str) -> Any:
        options = {"bootstrap.servers": bootstrap, "group.id": "judge", "enable.auto.commit": False}
        return ck.Consumer({**options, "isolation.level": isolation, "enable.partition.eof": True})

    everything, committed = consumer("read_uncommitted"), consumer("read_committed")
    try:
        known = everything.list_topics(timeout=within_s).topics
        places = [
            ck.TopicPartition(t, number, ck.OFFSET_BEGINNING) for t in topics if t in known for number in known[t].partitions
        ]
        deadline = time.monotonic() + within_s
        left = {(place.topic, place.partition): _end_of(everything, place, deadline) for place in places}
        committed.assign(places)
        found: list[Seen] = []
        while left:
            assert time.monotonic() < deadline, f"{topics} were not read to their ends in {within_s:g} s"
            for message in committed.consume(500, 0.1):
                error = message.error()
                if error is None:
                    found.append(_seen(message))
                elif error.code() == ck.KafkaError._PARTITION_EOF:
                    place = (message.topic(), message.partition())
                    if message.offset() >= left.get(place, 0):
                        left.pop(place, None)
        return found
    finally:
        everything.close()
        committed.close()


def _end_of(consumer: Any, place: Any, deadline: float) -> int:
    """One past the last offset; a partition that was just made, or whose broker was, takes a moment."""
    import confluent_kafka as ck

    while True:
        try:
            end: int = consumer.get_watermark_offsets(place, timeout=5)[1]
            return end
        except ck.KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _seen(message: Any) -> Seen:
    headers = tuple((name, value or b"") for name, value in message.headers() or ())
    return Seen(
        message.topic(), message.partition(), message.offset(), message.key(), message.value(), headers, message.timestamp()[1]
    )


def ids(found: Sequence[Seen]) -> Counter[str]:
    """How often each `ce_id` is there."""
    return Counter((record.header("ce_id") or b"").decode() for record in found)
