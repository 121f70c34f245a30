"""An Arrow stream's bytes as whole messages, so that nothing is read of one before it is there, and none is too large.

    ff ff ff ff | i32 length of the metadata | metadata (flatbuffer, padded) | body of the length that the metadata says

Source: Apache Arrow, "Encapsulated message format" and Message.fbs. Of the metadata only the message's kind, its body's length
and whether that is compressed are read here; the rest is for `arrow_batches`. Compressed bodies are refused: what they grow to
is known only once memory has been spent on it.
"""

import struct
from enum import IntEnum

from penstock.errors import InvalidInput, TooLarge
from penstock_transformer.http.bulk.flatbuffer import Table

_MARK = b"\xff\xff\xff\xff"
_METADATA_BYTES = 16 * 1024 * 1024
# Fields of Message, RecordBatch and DictionaryBatch, by their place in the schema.
_KIND, _HEADER, _BODY = 1, 2, 3
_COMPRESSION = 3
_DATA = 1


class Kind(IntEnum):
    """What a message is; `END` is the mark behind the last one."""

    END = 0
    SCHEMA = 1
    DICTIONARY = 2
    BATCH = 3


class ArrowMessages:
    """Feed chunks, get messages as they were sent. Memory holds one message of at most `most_bytes`."""

    def __init__(self, *, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held = bytearray()
        self._wanted = 8
        self.ended = False

    @property
    def inside(self) -> bool:
        """Whether a message has begun that is not whole yet."""
        return bool(self._held)

    def feed(self, chunk: bytes) -> list[tuple[Kind, bytes, memoryview]]:
        """The messages that are whole now. Raises InvalidInput for bytes that are no Arrow stream, and TooLarge."""
        self._held += chunk
        found: list[tuple[Kind, bytes, memoryview]] = []
        while not self.ended and len(self._held) >= self._wanted:
            message = self._next()
            if message is not None:
                found.append(message)
        return found

    def _next(self) -> tuple[Kind, bytes, memoryview] | None:
        if self._held[:4] != _MARK:
            raise InvalidInput("expected an Arrow IPC stream (not a file, and not the form from before 0.15)", field="body")
        length = struct.unpack_from("<i", self._held, 4)[0]
        if length == 0:
            self.ended = True
            return self._taken(Kind.END, 0, 8)
        if not 0 < length <= _METADATA_BYTES:
            raise InvalidInput(f"expected at most {_METADATA_BYTES} bytes of metadata, got {length}", field="body")
        if len(self._held) < 8 + length:
            self._wanted = 8 + length
            return None
        kind, body = _read_metadata(memoryview(self._held)[8 : 8 + length].tobytes())
        if body > self._most_bytes:
            raise TooLarge(f"expected record batches of at most {self._most_bytes} bytes, got {body}", field="body")
        self._wanted = 8 + length + body
        return self._taken(kind, length, self._wanted) if len(self._held) >= self._wanted else None

    def _taken(self, kind: Kind, length: int, size: int) -> tuple[Kind, bytes, memoryview]:
        message = bytes(self._held[:size])
        del self._held[:size]
        self._wanted = 8
        return kind, message[8 : 8 + length], memoryview(message)[8 + length :]


def _read_metadata(metadata: bytes) -> tuple[Kind, int]:
    """The kind of a message and the bytes of its body."""
    try:
        message = Table(metadata, 0)
        kind, body = message.scalar(_KIND, "<B"), message.scalar(_BODY, "<q")
        batch = message.table(_HEADER) if kind in (Kind.DICTIONARY, Kind.BATCH) else None
        if batch is not None and kind == Kind.DICTIONARY:
            batch = batch.table(_DATA)
        compressed = batch is not None and batch.place(_COMPRESSION) != 0
    except (struct.error, ValueError):
        raise InvalidInput("expected an Arrow IPC stream, got a message whose metadata is broken", field="body") from None
    if kind not in (Kind.SCHEMA, Kind.DICTIONARY, Kind.BATCH) or body < 0:
        raise InvalidInput("expected a schema, dictionaries and record batches, got another message", field="body")
    if compressed:
        raise InvalidInput("expected record batches without compression", field="body")
    return Kind(kind), body
