"""Named points between two effects, where a test can make the process die, fail or stop: off unless the environment asks.

    PENSTOCK_FAILPOINTS="worker.sent=kill, relay.claimed=error@3, sink.written=pause@1"

    kill     the process ends at once, as by `kill -9`: nothing is flushed, no handler runs
    error    `FailpointError` is raised
    pause    the process stops itself (SIGSTOP), as a machine that hangs would; whoever sent it there sends SIGCONT

`@n` makes it happen at the n-th passage, once; without it at the first. A point costs a dictionary's look-up, and that only in
a process whose environment has the variable: no request of a process in production pays for it.
"""

import os
import signal
from dataclasses import dataclass

VARIABLE = "PENSTOCK_FAILPOINTS"
_ACTIONS = ("kill", "error", "pause")


class FailpointError(Exception):
    """What the action `error` raises: a fault that nothing in the code expects."""


@dataclass(slots=True)
class _Armed:
    action: str
    passages_left: int


def read_failpoints(text: str) -> dict[str, _Armed]:
    """What the variable asks for, by point. Raises ValueError for what is not `name=action[@n]`, comma-separated."""
    armed: dict[str, _Armed] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, rest = part.partition("=")
        action, at, passage = rest.partition("@")
        if not equals or action not in _ACTIONS or (at and not passage.isdecimal()):
            raise ValueError(f"{VARIABLE}: expected name={'|'.join(_ACTIONS)}[@n], got {part!r}")
        armed[name] = _Armed(action, max(1, int(passage or 1)))
    return armed


_armed = read_failpoints(os.environ.get(VARIABLE, ""))


def failpoint(name: str) -> None:
    """Pass a point. Raises FailpointError, ends or stops the process if the environment asks for that here."""
    if _armed:
        _pass(name)


def _pass(name: str) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    armed.passages_left -= 1
    if armed.passages_left > 0:
        return
    del _armed[name]
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif armed.action == "pause":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        raise FailpointError(name)
