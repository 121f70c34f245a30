"""What one stream may hold: a handful of numbers, fixed when the server starts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of every stream; times are in seconds, kept by the sweep that runs once a second."""

    credit: int = 128
    """Requests that one connection may have unanswered. A client that sends more is closed with 1008."""
    message_bytes: int = 64 * 1024 * 1024
    """Bytes of one message, its fragments together; a longer one closes the connection with 1009."""
    handshake_s: int = 10
    """From the connection's change of protocol to the end of the handshake."""
    stall_s: int = 30
    """Without a byte of a message that has begun, or without room for a byte of an answer; then the connection is cut."""
    ping_s: int = 20
    """Silence after which the server asks whether anybody is there; after as long again the connection is cut."""
    close_s: int = 5
    """How long the other side may take to answer a close frame."""
