"""One request and how its answer is read, as values: what every verb of the client is made of, before any I/O.

    verb -> Call --(sync or asyncio shell, `retrying`)--> Answer -> Call.read -> result

Invariant: a Call holds everything that a retry needs, so that sending it twice sends the same bytes.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypedDict, TypeVar
from urllib.parse import quote, urlencode

from penstock.errors import InvalidInput

T = TypeVar("T")


class Repeat(Enum):
    """When a call may be sent again."""

    ALWAYS = "always"
    """The same call twice does what it does once: predictions, reads, PUT."""
    IF_REFUSED = "if refused"
    """Only where the first one surely did nothing: it was never sent, or the server refused it for being busy or not ready."""


class CallOptions(TypedDict, total=False):
    """What any single call may be given, by keyword."""

    timeout_s: float | None
    """For the call with all its retries; the server is told what is left of it. None: no limit."""
    priority: int
    """Lower goes first; 0 is normal."""
    route_key: str
    """What decides which bundle answers, instead of the first row's key."""
    expect_bundle: str
    """`sha256:…` or `name@sha256:…`; another bundle raises WrongBundle."""
    request_id: str
    traceparent: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def bundle(self) -> str:
        """The bundle that answered, `name@sha256:…`; "" if none is named."""
        return self.headers.get("penstock-bundle", "")

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """`read` makes the result of an answer whose status is 2xx or in `also`. `path` is encoded and includes the query. What
    `outlives` its caller is not told the caller's deadline, which is for handing it in alone."""

    method: str
    path: str
    read: Callable[[Answer], T]
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    repeat: Repeat = Repeat.ALWAYS
    also: frozenset[int] = frozenset()
    outlives: bool = False

    def is_result(self, status: int) -> bool:
        """Whether an answer with this status is one that `read` takes."""
        return 200 <= status < 300 or status in self.also


def path_of(template: str, *parts: str, **query: str | int | None) -> str:
    """`template` with each `{}` replaced by a percent-encoded part, and the query's members that are not None."""
    path = template.format(*(_segment(part) for part in parts))
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _segment(part: str) -> str:
    """A path segment; dots alone would be taken for a step up."""
    return part.replace(".", "%2E") if part in (".", "..") else quote(part, safe="")


def option_headers(options: CallOptions) -> dict[str, str]:
    """The request headers of a call's options, but for the deadline, which is another one each time that it is sent.

    Raises TypeError for an option that there is not, InvalidInput for text that no header can hold.
    """
    for name in options.keys() - CallOptions.__annotations__.keys():
        near = difflib.get_close_matches(name, CallOptions.__annotations__, 1)
        raise TypeError(f"unexpected option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    given = {
        "penstock-priority": str(options["priority"]) if "priority" in options else None,
        "penstock-route-key": options.get("route_key"),
        "penstock-expect-bundle": options.get("expect_bundle"),
        "x-request-id": options.get("request_id"),
        "traceparent": options.get("traceparent"),
    }
    headers = {name: value for name, value in given.items() if value is not None}
    for name, value in headers.items():
        if not value.isprintable():
            raise InvalidInput(f"expected one line of text, got {value[:80]!r}", field=name)
    return headers
