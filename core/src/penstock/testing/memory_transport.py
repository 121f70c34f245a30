"""A transport without a network, for tests of protocols: it keeps what is written, and does nothing else.

    protocol.connection_made(transport); protocol.data_received(b"…")      transport.written, .closing, .aborted, .reading

What a full socket does is done by hand: `protocol.pause_writing()`.
"""

from collections.abc import Iterable
from typing import Any


class MemoryTransport:
    """`written` holds every byte so far; `protocol` is who it was handed to. `halves`: it can end its own direction alone, and
    `ended` says that it did; `peer` is the address of the other side."""

    def __init__(self, protocol: Any = None, *, halves: bool = False, peer: tuple[str, int] | None = None) -> None:
        self.written = b""
        self.reading = True
        self.closing = self.aborted = self.ended = False
        self.protocol = protocol
        self._halves = halves
        self._peer = peer

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: Iterable[bytes]) -> None:
        self.written += b"".join(parts)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def can_write_eof(self) -> bool:
        return self._halves

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._peer if name == "peername" and self._peer is not None else default

    @property
    def statuses(self) -> list[int]:
        """The status of every HTTP answer that was written, in order."""
        return [int(part[:3]) for part in self.written.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]
