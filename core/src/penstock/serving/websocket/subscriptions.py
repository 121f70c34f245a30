"""What a stream's client follows beside its requests: `{"subscribe": id}` in, messages with `"subscription": id` out.

    take -> subject_of -> Subscriptions.begin -> Follow --tell, ended--> Sink.send

One subscription takes one credit until it has ended. What can be followed, and by whom, the member that gives `Follow` decides.

Invariant: an id is followed once at a time on a connection, and nothing is told behind its end or the connection's.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec
import orjson

from penstock.errors import Conflict, InvalidInput, PenstockError
from penstock.serving.security.scopes import Caller
from penstock.serving.status import HTTP_STATUS

_MARK = b'"subscribe"'
_LONGEST = 1024


class Follow(Protocol):
    """Follows something by its id, for a caller."""

    def __call__(
        self, subject: str, caller: Caller | None, tell: Callable[[bytes], None], ended: Callable[[PenstockError | None], None]
    ) -> Callable[[], None]:
        """Begin: `tell` is called with the members of each message, a JSON object, and `ended` once; what is returned stops it,
        after which neither is called."""


class _Subscribe(msgspec.Struct, forbid_unknown_fields=True):
    subscribe: str


_decode = msgspec.json.Decoder(_Subscribe).decode


def subject_of(message: bytes) -> str | None:
    """The id that a text message subscribes to, None for any other message. Raises InvalidInput for an id that is none."""
    if len(message) > _LONGEST or _MARK not in message:
        return None
    try:
        return _decode(message).subscribe
    except msgspec.ValidationError as error:
        if str(error).endswith("at `$.subscribe`"):
            raise InvalidInput("expected the id of a prediction, a string", field="subscribe") from None
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class Subscriptions:
    """Those of one connection. `send` takes whole messages, `over` is called when one has ended."""

    def __init__(self, follow: Follow, send: Callable[[bytes], None], over: Callable[[], None]) -> None:
        self._follow = follow
        self._send = send
        self._over = over
        self._stops: dict[str, Callable[[], None]] = {}

    def begin(self, subject: str, caller: Caller | None) -> None:
        """Follow it. What is wrong with it is a message of its own."""
        if subject in self._stops:
            self._failed(subject, Conflict("is followed on this connection already", field="subscribe"))
            return
        self._stops[subject] = lambda: None
        stop = self._follow(
            subject, caller, lambda members: self._told(subject, members), lambda error: self._ended(subject, error)
        )
        if subject in self._stops:
            self._stops[subject] = stop

    def stop(self) -> None:
        """End all of them, without a word."""
        stops, self._stops = self._stops, {}
        for stop in stops.values():
            stop()

    def _told(self, subject: str, members: bytes) -> None:
        if subject in self._stops:
            self._send(orjson.dumps({"subscription": subject})[:-1] + b"," + members[1:])

    def _ended(self, subject: str, error: PenstockError | None) -> None:
        if self._stops.pop(subject, None) is None:
            return
        if error is None:
            self._over()
        else:
            self._failed(subject, error)

    def _failed(self, subject: str, error: PenstockError) -> None:
        text = str(error).encode("utf-8", "replace").decode()
        document = {"subscription": subject, "error": text, "kind": error.kind.value, "status": HTTP_STATUS[error.kind]}
        self._send(orjson.dumps(document))
        self._over()
