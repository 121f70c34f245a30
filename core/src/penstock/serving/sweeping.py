"""The sweep over open connections: one look a second takes the place of a timer for every request.

Invariant: nothing stays open for longer than the limits say, whatever the other side does or leaves undone.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.serving.fast import FastProtocol

_GOODBYE_TICKS = 3


def sweep(connection: "FastProtocol") -> None:
    """Called once a second: close what has been idle, answer what came half, cut what does not read."""
    limits = connection.shell.limits
    connection.ticks += 1
    connection.message_ticks += 1
    if connection.lingering:
        if connection.message_ticks > 5:
            connection.transport.close()
    elif connection.transport.is_closing() and not connection.flow.write_paused:
        # TLS says goodbye and waits for the other side's; a client that is not reading will not say it.
        if connection.ticks > _GOODBYE_TICKS:
            connection.transport.abort()
    elif connection.flow.write_paused:
        if connection.ticks > limits.stall_timeout_s:
            connection.transport.abort()
    elif connection.flow.read_paused:
        connection.ticks = 0
    elif connection.receiving:
        most_s = limits.head_timeout_s if connection.head_open else limits.body_timeout_s
        late = connection.message_ticks > most_s and (connection.head_open or not connection.streamed)
        if late or connection.ticks > limits.stall_timeout_s:
            connection.fail(408, "the request did not arrive in time")
    elif connection.active is not None:
        connection.ticks = 0
    elif connection.ticks > limits.keep_alive_s:
        connection.transport.close()
