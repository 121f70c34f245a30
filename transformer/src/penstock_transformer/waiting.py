"""Who of a batch still waits for an answer: callers leave, and deadlines pass, while it runs."""

import time
from collections.abc import Sequence

from penstock.errors import Cancelled, DeadlineExceeded
from penstock_transformer.work import PredictWork


def wanted(works: Sequence[PredictWork]) -> bool:
    """Whether any caller still waits."""
    return any(work.waiting and not work.disconnected for work in works)


def check_wanted(works: Sequence[PredictWork]) -> None:
    """Raises Cancelled or DeadlineExceeded if no caller waits any more. Called in any thread; it only looks."""
    now = time.monotonic()
    late = False
    for work in works:
        deadline = work.context.deadline
        if deadline is not None and deadline <= now:
            late = True
        elif work.waiting and not work.disconnected:
            return
    raise DeadlineExceeded("the deadline passed before the images were decoded") if late else Cancelled("the caller is gone")
