"""Records as every part beside the broker's clients sees them: bytes and where they came from, nothing decoded.

topic --Record--> worker, relay, sink --OutRecord--> topic
"""

from typing import NamedTuple, Protocol

import msgspec

Headers = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class _Content(Protocol):
    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...

    @property
    def headers(self) -> Headers: ...


class _Weighed(msgspec.Struct, frozen=True, eq=False):
    """What records that were read and records to be written have in common."""

    @property
    def nbytes(self: _Content) -> int:
        """What it takes of a budget, in bytes: key, value, headers, and 100 for the rest."""
        # A loop, not a sum over a generator: this is asked of every record, and takes half the time.
        size = len(self.key or b"") + len(self.value or b"") + 100
        for name, value in self.headers:
            size += len(name) + len(value)
        return size


class Record(_Weighed, frozen=True, eq=False):
    """A record that was read. `timestamp_ms` is the topic's (creation or append), in ms of the Unix epoch. `headers` keep their
    order and their doubles; a header without a value is empty."""

    partition: Partition
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def position(self) -> str:
        """`<topic>/<partition>/<offset>`: unique in a cluster, and the id of a record that brings none."""
        return f"{self.partition.topic}/{self.partition.number}/{self.offset}"

    def header(self, name: str) -> bytes | None:
        """The last header of that name (as CloudEvents readers take it), or None."""
        for key, value in reversed(self.headers):
            if key == name:
                return value
        return None


class OutRecord(_Weighed, frozen=True, eq=False):
    """A record to be written. `partition` None lets the key decide (murmur2, as Java's clients do); a number that the topic
    does not have does too."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    timestamp_ms: int | None = None
