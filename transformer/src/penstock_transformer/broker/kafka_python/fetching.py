"""One look for records, over kafka-python's fetcher, whose slips end here:

    records of a partition that was paused      are parked, and taken back only into a place that is None; where the drained
                                                records of another partition were left, they waited for ever
    records that cannot be read                 are told once; after that the fetcher would look for the rest of them in an
                                                endless loop. Here they are thrown away and fetched again, and told again
    a header whose name is no UTF-8             made all of its partition unreadable. Here the name is text with escapes

Invariant: no record is passed over. What cannot be read is an error that names topic, partition and offset, whenever it is met.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition, errors
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch
from kafka.util import Timer

from penstock_transformer.broker.kafka_python import compression
from penstock_transformer.broker.port import BrokerError


def look(consumer: KafkaConsumer, wait_s: float, max_records: int) -> Mapping[TopicPartition, Sequence[Any]]:
    """Records by partition, waiting so long for the first. Raises kafka-python's errors, and BrokerError for records that cannot
    be read."""
    fetcher = consumer._fetcher
    if not fetcher._next_partition_records:
        fetcher._next_partition_records = None
    try:
        # Not its `poll`: that one starts over until its time is up, whatever woke it.
        found: Mapping[TopicPartition, Sequence[Any]] = consumer._poll_once(Timer(max(0.0, wait_s * 1000)), max_records)
    except (errors.UnsupportedCodecError, errors.CorruptRecordError) as error:
        raise _unreadable(fetcher, error) from error
    except Exception:
        fetcher._next_partition_records = None
        raise
    if fetcher._next_in_line_exception_metadata is not None:
        # Met behind records that are fine: they go out, and it is met again.
        fetcher._next_in_line_exception_metadata = fetcher._next_partition_records = None
    return found


def _unreadable(fetcher: Any, error: Exception) -> BrokerError:
    part, fetcher._next_partition_records = fetcher._next_partition_records, None
    where = "a record"
    if part is not None:
        where = f"{part.topic_partition.topic}/{part.topic_partition.partition} from offset {part.next_fetch_offset} on"
    if isinstance(error, errors.UnsupportedCodecError):
        return compression.missing(f"{where} cannot be read", error)
    return BrokerError(f"{where} cannot be read: {error}"[:500])


class _Batch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch whose headers may have any names. Only one that has such a name pays for it."""

    __slots__ = ()
    _buffer: Any

    def _read_msg(self) -> Any:
        try:
            return super()._read_msg()
        except UnicodeDecodeError:
            self._buffer = _Tolerant(self._buffer)
            return super()._read_msg()


class _Tolerant:
    """A buffer of records, what is read of which decodes whatever it is."""

    __slots__ = ("_whole",)

    def __init__(self, whole: bytearray) -> None:
        self._whole = whole

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, at: Any) -> Any:
        found = self._whole[at]
        return found if type(found) is int else _Text(found)


class _Text(bytearray):
    def decode(self, encoding: str = "utf-8", errors: str = "") -> str:  # noqa: ARG002 (its interface)
        return bytes(self).decode(encoding, "backslashreplace")


memory_records.DefaultRecordBatch = _Batch
