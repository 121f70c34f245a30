"""Whether runs may go on taking place on the event loop: a promise made when they were measured, and held to while they serve.

    fast runs: nothing is looked at --a run beyond the grace--> watched for a while --too much of the loop's time--> never again

What a model costs may depend on what it is given; one that was cheap when it was measured must not hold up all others when a
caller finds the dear input. Only the thread's own CPU time counts against a model: a machine that is throttled or busy is not its
fault.
"""

WATCHED_RUNS = 1000
"""Runs that are looked at closely after one that took long."""
MOST_S = 0.25
"""CPU time beyond the grace, of the runs watched, at which a model leaves the loop."""

_NEVER = float("inf")


class InlineGuard:
    """`rows`: the largest run that may take place on the loop, 0 once there may be none. `watched`: runs still to be looked at.

    `grace_s`: what a run may take without being noticed; 0 switches the guard off.
    """

    __slots__ = ("_over_s", "grace_s", "rows", "watched")

    def __init__(self, rows: int, grace_s: float) -> None:
        self.rows = rows
        self.grace_s = grace_s or _NEVER
        self.watched = 0
        self._over_s = 0.0

    def watch(self) -> None:
        """A run took longer than the grace, by the clock on the wall: look closely at the next ones."""
        self.watched = WATCHED_RUNS
        self._over_s = 0.0

    def note(self, cpu_s: float) -> bool:
        """Count a watched run's CPU time; whether it is the one with which runs leave the loop for good."""
        self.watched -= 1
        if cpu_s <= self.grace_s:
            return False
        # As long as such runs come the watch goes on, and what they took is not forgotten.
        self.watched = WATCHED_RUNS
        self._over_s += cpu_s - self.grace_s
        if self._over_s <= MOST_S or not self.rows:
            return False
        self.rows = self.watched = 0
        return True
