"""What sentences call what was tested, and what was counted: requests, or one of each route key in a minute.

Verdicts count what chance gave to a version by itself (`arms`). Where callers have keys that is less than their requests: who
knows how many of these there were has to be told what the numbers are of.
"""

from collections.abc import Collection

from penstock_operator.analysis.alpha import DISAGREEMENT, LATENCY, OUTPUTS, QUALITY
from penstock_operator.analysis.arms import Arm, Pairs
from penstock_operator.analysis.words import listed

METRICS = {LATENCY: "latency", OUTPUTS: "answers", DISAGREEMENT: "labels", QUALITY: "outcomes"}
"""By test; that of errors has numbers in every sentence instead."""
_FEW = 0.01
"""Of the requests: fewer that count otherwise are not worth another word."""


def noun(*counted: Arm | Pairs) -> str:
    """What one of the units is: a request, or a route key, where many requests had one in common."""
    return "route key" if any(_repeated(one) > _FEW * one.requests for one in counted) else "request"


def each(*counted: Arm | Pairs) -> str:
    """What follows a number of requests that are not all that came, whatever is counted of them; empty where they are all."""
    if noun(*counted) != "request":
        return ", one of each route key in a minute"
    return ", a part of all that came" if any(one.uncounted > _FEW * one.requests for one in counted) else ""


def none_found(tests: Collection[str]) -> str:
    """That of all but the errors among these tests none has shown harm; empty if there is no other."""
    named = [name for test, name in METRICS.items() if test in tests]
    return f" No harm over its margin was found in {listed(named)} either." if named else ""


def not_compared(tests: Collection[str]) -> str:
    """That nothing is known of what was answered, if none of these tests was of that; empty if one was."""
    if OUTPUTS in tests or DISAGREEMENT in tests:
        return ""
    return " What was answered was not compared: it is no label, score or value that is counted of both."


def _repeated(one: Arm | Pairs) -> float:
    """How many requests had a key that had counted before them."""
    return one.requests - one.uncounted - one.units
