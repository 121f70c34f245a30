"""How much came at a time, as requests met it: what tells whether two latencies are of the same load.

    Ledger.known before and after a look --came_between--> live requests, how many a second --Traffic.after--> requests_per_s

A quantile is over requests, and in a burst most of them come: so this is a mean over requests, not over seconds. A service that
is asked for ten seconds of each minute has the load of these ten. Of n requests in t seconds each came with n - 1 others, whose
mean is what is asked for however short the look was, and however few came.

Seconds are each process's own, by its age at two looks: neither a look that it missed nor two operators' clocks change how many
came a second. A process that is silent at a look is not in it, nor a new one at its first: that makes the load look smaller,
which excuses less.

Invariant: no distance of two moments that the operator, or two of them, read is in it.
"""

from collections.abc import Mapping
from math import sqrt

import msgspec

from penstock.evidence.ledger import Known

MORE = 1.25
"""Loads that are nearer count as the same: where pods are 60 % busy so much more takes 1.6 times as long, and where they are half
busy 1.33 times."""
_DEVIATIONS = 3.0
"""Of what chance makes of the number of requests."""
_UNSEEN_S = 75.0
"""What a process tells of a longer time at once is left out: nobody knows which of it came in bursts. Looks between which one was
missed are not so far apart."""


class Traffic(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """What came in a while. `requests`: how many; `others_per_s`: of each, how many others came a second with it, added up."""

    requests: int = 0
    others_per_s: float = 0.0

    def after(self, requests: int, requests_per_s: float) -> "Traffic":
        """With so many more, of which so many came a second."""
        others = self.others_per_s + max(requests - 1, 0) * requests_per_s
        return Traffic(self.requests + requests, round(others, 3))

    def and_of(self, another: "Traffic") -> "Traffic":
        """What came in two whiles."""
        return Traffic(self.requests + another.requests, round(self.others_per_s + another.others_per_s, 3))

    def since(self, before: "Traffic") -> "Traffic":
        """What came after a moment, of which this counted so much; nothing if it did not begin before it."""
        requests, others = self.requests - before.requests, self.others_per_s - before.others_per_s
        return Traffic(requests, others) if requests > 0 and others > 0.0 else NOTHING

    @property
    def requests_per_s(self) -> float:
        """As a request met it, in the mean; 0 where nothing is known."""
        return self.others_per_s / self.requests if self.requests else 0.0

    def is_more_than(self, requests_per_s: float) -> bool:
        """Whether it surely was another load than one of so many: of 0 nothing is known."""
        if not requests_per_s or not self.requests:
            return False
        return self.requests_per_s * (1.0 - _DEVIATIONS / sqrt(self.requests)) > MORE * requests_per_s


NOTHING = Traffic()


def came_between(before: Mapping[str, Known], after: Mapping[str, Known], revision: int) -> tuple[int, float]:
    """Live requests under this revision of the route and later ones that processes told between two looks, and how many a second
    that is: of each process by its own time, added up."""
    requests, requests_per_s = 0, 0.0
    for incarnation, now in after.items():
        then = before.get(incarnation)
        if then is None or then is now or not then.age_s:
            continue
        seconds = now.age_s - then.age_s
        if 0.0 < seconds <= _UNSEEN_S:
            came = _live(now, revision) - _live(then, revision)
            requests += came
            requests_per_s += came / seconds
    return requests, requests_per_s


def _live(known: Known, revision: int) -> int:
    return sum(entry.requests for entry in known.entries if entry.revision >= revision and not entry.shadow)
