"""Records that no client would send, put into a topic byte by byte: header names that are no text, headers without a value.

    produce_raw("127.0.0.1:9092", "m.requests", 0, [RawRecord(b"{}", headers=((b"\\xff", None),))]) -> the first one's offset

One record batch of format 2 in a Produce request of version 3, over a socket; nothing of what it carries is checked.
Source: Kafka protocol guide, "Record Batch", "Record" and "Produce API".
"""

import socket
import struct
import time
from collections.abc import Sequence
from typing import NamedTuple

import crc32c

_PRODUCE, _VERSION, _CORRELATION = 0, 3, 7
_ALL_REPLICAS, _TIMEOUT_MS = -1, 10_000


class RawRecord(NamedTuple):
    """A record as it lies in the topic."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[bytes, bytes | None]] = ()


def produce_raw(bootstrap: str, topic: str, partition: int, records: Sequence[RawRecord]) -> int:
    """Write these to a partition that this broker leads. Raises RuntimeError if the broker refuses them."""
    name = topic.encode()
    batch = _batch(records)
    body = struct.pack(">hhi", -1, _ALL_REPLICAS, _TIMEOUT_MS)
    body += struct.pack(f">ih{len(name)}siii", 1, len(name), name, 1, partition, len(batch)) + batch
    request = struct.pack(">hhih", _PRODUCE, _VERSION, _CORRELATION, -1) + body
    host, _, port = bootstrap.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = _read(connection, struct.unpack(">i", _read(connection, 4))[0])
    # Correlation id, one topic, its name, one partition, its number; then the error and the offset.
    error, offset = struct.unpack_from(">hq", answer, 4 + 4 + 2 + len(name) + 4 + 4)
    if error:
        raise RuntimeError(f"the broker refused the batch with error {error}")
    return int(offset)


def _batch(records: Sequence[RawRecord]) -> bytes:
    now_ms = int(time.time() * 1000)
    encoded = b"".join(_record(number, record) for number, record in enumerate(records))
    # Attributes, last offset, first and last time, no producer, and so no epoch and no sequence.
    checked = struct.pack(">hiqqqhii", 0, len(records) - 1, now_ms, now_ms, -1, -1, -1, len(records)) + encoded
    # The leader's epoch, the format, the checksum; in front of it the first offset and the length of the rest.
    rest = struct.pack(">ibI", -1, 2, crc32c.crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(rest)) + rest


def _record(number: int, record: RawRecord) -> bytes:
    parts = [b"\0", _varint(0), _varint(number), _bytes(record.key), _bytes(record.value), _varint(len(record.headers))]
    parts += [part for name, value in record.headers for part in (_bytes(name), _bytes(value))]
    encoded = b"".join(parts)
    return _varint(len(encoded)) + encoded


def _bytes(value: bytes | None) -> bytes:
    return _varint(-1) if value is None else _varint(len(value)) + value


def _varint(number: int) -> bytes:
    """Zigzag, seven bits a byte."""
    rest = (number << 1) ^ (number >> 31)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def _read(connection: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        more = connection.recv(count - len(read))
        if not more:
            raise RuntimeError("the broker ended the connection")
        read += more
    return read
