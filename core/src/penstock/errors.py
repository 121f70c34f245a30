"""The error tree: every way a request can fail, drawn along the path it takes.

    bytes -> way in -> route -> fetch -> encode -> predictor -> post-process -> bytes
             |         |        |        |         |
             |         |        |        |         +- UpstreamUnavailable, WrongBundle, DeadlineExceeded
             |         |        |        +----------- InvalidInput (a value the encoder refuses)
             |         |        +-------------------- UpstreamUnavailable (store), InvalidInput (missing), NotFound (record)
             |         +----------------------------- NotFound (model, version), NotReady
             +--------------------------------------- InvalidInput, TooLarge, UnsupportedType, Unauthenticated, Forbidden,
                                                      Overloaded, NotReady (draining), Cancelled (the caller left)

    PenstockError
    +-- InvalidInput            the request is wrong; the same bytes will be wrong again
    |   +-- TooLarge            over a limit of bytes, rows, elements, rank or pixels
    |   +-- UnsupportedType     a content type or encoding that this path does not read
    +-- Unauthenticated
    +-- Forbidden
    +-- NotFound                model, version, record
    +-- Conflict
    +-- WrongBundle             another bundle answers here than the caller expected
    +-- Overloaded              a queue is full; `retry_after_s` says when to come back
    +-- DeadlineExceeded
    +-- Cancelled               the caller went away
    +-- NotReady                starting, draining, or the model is not loaded
    +-- UpstreamUnavailable     predictor, feature store or broker cannot be reached
    +-- Internal                a fault of ours; the detail is in the log, never in the answer

Each edge (HTTP, gRPC, Kafka, operator) has exactly one table from `ErrorKind` to its own codes; nothing else branches on kinds.
A message says what was wrong, what was expected, and where: `inputs[1].shape: expected [-1, 32], got [4, 31]`.
"""

from enum import StrEnum


class ErrorKind(StrEnum):
    """The stable name of each leaf of the tree; the label of metrics and the key of every edge's table."""

    INVALID_INPUT = "invalid_input"
    TOO_LARGE = "too_large"
    UNSUPPORTED_TYPE = "unsupported_type"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    WRONG_BUNDLE = "wrong_bundle"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    NOT_READY = "not_ready"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    INTERNAL = "internal"


class PenstockError(Exception):
    """Base of everything that Penstock raises on purpose.

    `message` is for the caller; `field` is the path of the field at fault (`inputs[0].data`, `rows[3].carrier`) or None.
    `retryable` says whether the same request may succeed later without being changed. `bundle` is the label of the bundle that
    the request had been routed to, None if it did not get that far. `request_id` is set where a client has read the error from
    a server's answer.
    """

    kind = ErrorKind.INTERNAL
    retryable = False
    bundle: str | None = None
    request_id: str | None = None

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.message = message
        self.field = field


class InvalidInput(PenstockError):
    kind = ErrorKind.INVALID_INPUT


class TooLarge(InvalidInput):
    kind = ErrorKind.TOO_LARGE


class UnsupportedType(InvalidInput):
    kind = ErrorKind.UNSUPPORTED_TYPE


class Unauthenticated(PenstockError):
    """No credentials, or none that are known. What is wrong with them is never said beyond what their owner may know."""

    kind = ErrorKind.UNAUTHENTICATED


class Forbidden(PenstockError):
    """The caller is known, and may not do this. `scope` is what it would need, where a scope is what it lacks."""

    kind = ErrorKind.FORBIDDEN

    def __init__(self, message: str, *, field: str | None = None, scope: str | None = None) -> None:
        super().__init__(message, field=field)
        self.scope = scope


class NotFound(PenstockError):
    kind = ErrorKind.NOT_FOUND


class Conflict(PenstockError):
    kind = ErrorKind.CONFLICT


class WrongBundle(PenstockError):
    kind = ErrorKind.WRONG_BUNDLE
    retryable = True


class Overloaded(PenstockError):
    """A bounded queue is full. `retry_after_s` is an honest estimate of when it will have room."""

    kind = ErrorKind.OVERLOADED
    retryable = True

    def __init__(self, message: str, *, field: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, field=field)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(PenstockError):
    kind = ErrorKind.DEADLINE_EXCEEDED


class Cancelled(PenstockError):
    kind = ErrorKind.CANCELLED


class NotReady(PenstockError):
    kind = ErrorKind.NOT_READY
    retryable = True


class UpstreamUnavailable(PenstockError):
    kind = ErrorKind.UPSTREAM_UNAVAILABLE
    retryable = True


class Internal(PenstockError):
    """A fault of ours. Without a message of its own it says no more than where to look."""

    kind = ErrorKind.INTERNAL

    def __init__(self, message: str = "internal error; the log has it", *, field: str | None = None) -> None:
        super().__init__(message, field=field)
