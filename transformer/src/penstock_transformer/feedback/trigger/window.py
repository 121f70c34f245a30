"""Windows of time: which part of a log is judged, and given to whoever retrains.

    now --latest--> Window [since, until)      … | every | every | every | delay | now
                                                 [----- length -----)

Invariant: windows end on whole multiples of `every` since 1970, whoever asks and whenever; so two watchers, or one that forgot
everything, name the same window by the same id, and a receiver can tell a repeated request from a new one.
"""

import hashlib
import math
import re
from datetime import UTC, datetime

import msgspec

_NO_NAME = re.compile(r"[^a-z0-9]+")
_NAME_CHARACTERS = 20
_DIGITS = 12


class Window(msgspec.Struct, frozen=True):
    """Seconds since 1970: `since` belongs to it, `until` does not."""

    since: float
    until: float

    def document(self) -> dict[str, str]:
        """As JSON: RFC 3339 in UTC."""
        return {"since": moment(self.since), "until": moment(self.until)}


def latest(now_s: float, *, length_s: float, every_s: float, delay_s: float) -> Window:
    """The last whole window whose outcomes have had `delay_s` to come."""
    until = math.floor((now_s - delay_s) / every_s) * every_s
    return Window(until - length_s, until)


def retraining_id(model: str, digest: str, window: Window) -> str:
    """The name of one retraining: the same for the same model, bundle and window. At most 58 characters, lower-case letters,
    digits and hyphens, so that it also names a Kubernetes object."""
    told = "\n".join((model, digest, repr(window.since), repr(window.until)))
    shown = _NO_NAME.sub("-", model.lower())[:_NAME_CHARACTERS].strip("-") or "model"
    end = datetime.fromtimestamp(window.until, UTC).strftime("%Y%m%dt%H%M%Sz")
    return f"retrain-{shown}-{end}-{hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]}"


def moment(seconds: float) -> str:
    """RFC 3339 in UTC, with as many digits as the time has."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
