"""The one table from a kind of error to what the worker does with its record.

    PenstockError --what_to_do--> DEAD_LETTER: the record's own error; its dead letter commits with its offset
                                  RETRY: nothing that the record could help; pause, and try it again
                                  SUSPECT: the call ended with the predictor; the record may be why

Two errors are told apart by more than their kind. A stored value that cannot be read is one entity's fault though the store names
it, and waiting does not mend it. A call that ran out of the time that *we* give to calls says nothing of the record's deadline: a
predictor that hangs must cost nobody his prediction, a record that makes it hang must not be tried for ever.
"""

import time
from enum import Enum

from penstock.errors import DeadlineExceeded, ErrorKind, PenstockError, WrongBundle
from penstock_transformer.broker.records import Record
from penstock_transformer.call import ConnectionEnded
from penstock_transformer.store.port import UnreadableValue


class Action(Enum):
    """What is done with a record that could not be predicted."""

    DEAD_LETTER = "dead letter"
    RETRY = "retry"
    SUSPECT = "suspect"


_TABLE = {
    ErrorKind.INVALID_INPUT: Action.DEAD_LETTER,
    ErrorKind.TOO_LARGE: Action.DEAD_LETTER,
    ErrorKind.UNSUPPORTED_TYPE: Action.DEAD_LETTER,
    ErrorKind.NOT_FOUND: Action.DEAD_LETTER,
    ErrorKind.CONFLICT: Action.DEAD_LETTER,
    ErrorKind.DEADLINE_EXCEEDED: Action.DEAD_LETTER,
    ErrorKind.INTERNAL: Action.DEAD_LETTER,
    # A record has no credentials: these are about ours, at the predictor or the object store.
    ErrorKind.UNAUTHENTICATED: Action.RETRY,
    ErrorKind.FORBIDDEN: Action.RETRY,
    ErrorKind.WRONG_BUNDLE: Action.RETRY,
    ErrorKind.OVERLOADED: Action.RETRY,
    # Nobody leaves while a record waits: it is we who are going.
    ErrorKind.CANCELLED: Action.RETRY,
    ErrorKind.NOT_READY: Action.RETRY,
    ErrorKind.UPSTREAM_UNAVAILABLE: Action.RETRY,
}
# A record that names a bundle waits so long for the route to bring it, counted from its timestamp; then it holds up no others.
BUNDLE_PATIENCE_S = 60.0
# Timers of the event loop may come a little early.
_EARLY_S = 0.05


def what_to_do(error: PenstockError, record: Record, deadline: float | None) -> Action:
    """What becomes of `record`. `deadline` is the record's own in s of `time.monotonic()`, None if it has none, 0 for an error
    that was found before there was a request."""
    if isinstance(error, ConnectionEnded):
        return Action.SUSPECT
    if isinstance(error, UnreadableValue):
        return Action.DEAD_LETTER
    if isinstance(error, DeadlineExceeded) and (deadline is None or deadline - _EARLY_S > time.monotonic()):
        return Action.SUSPECT
    if isinstance(error, WrongBundle) and time.time() - record.timestamp_ms / 1e3 > BUNDLE_PATIENCE_S:
        return Action.DEAD_LETTER
    return _TABLE[error.kind]
