"""The `Prefer` header (RFC 7240): how a caller wants to be answered, and `Preference-Applied`, which says what was heeded.

    respond-async            202 with an id at once
    wait=n                   as long as it ends within n seconds, its end; else 202
    wait                     on predict: never 202, however many rows

What is not known is passed over, as the RFC has it; so is a number of seconds that is none.
"""

from typing import NamedTuple


class Preference(NamedTuple):
    """`wait_s` None: no time was named. `wait`: `wait` was, with or without a time."""

    respond_async: bool = False
    wait: bool = False
    wait_s: float | None = None

    def applied(self, waited_s: float | None) -> bytes:
        """The header line of an answer, the wait as it was granted; empty where nothing was preferred."""
        parts = [b"respond-async"] if self.respond_async else []
        if waited_s is not None:
            parts.append(b"wait=%d" % waited_s)
        return b"preference-applied: %b\r\n" % b", ".join(parts) if parts else b""


NONE = Preference()
_WAIT = Preference(wait=True)
_ASYNC = Preference(respond_async=True)
_COMMON = {b"wait": _WAIT, b"respond-async": _ASYNC}


def read_prefer(value: bytes | None) -> Preference:
    """What a caller prefers; of a preference that is given twice the first counts."""
    if value is None:
        return NONE
    common = _COMMON.get(value)
    if common is not None:
        return common
    respond_async, wait, wait_s = False, False, None
    for part in value.split(b","):
        name, _, rest = part.partition(b";")[0].partition(b"=")
        name, rest = name.strip().lower(), rest.strip().strip(b'"')
        if name == b"respond-async":
            respond_async = True
        elif name == b"wait" and not wait:
            wait = True
            wait_s = float(rest) if rest.isdigit() and len(rest) < 9 else None
    return Preference(respond_async, wait, wait_s)
