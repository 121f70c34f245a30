"""How much came at a time, as requests met it: what tells whether two latencies are of the same load.

    live requests of each look, its seconds --Traffic.after--> rate: of the others, how many a second came with one of them

A quantile is over requests, and in a burst most of them come: so the rate is a mean over requests, not over seconds. A service
that is asked for ten seconds of each minute has the rate of these ten. Of n requests in t seconds each came with n - 1 others,
whose mean is what is asked for however short the look was, and however few came.

Invariant: looks between which the operator was away are left out.
"""

from math import sqrt

import msgspec

MORE = 1.25
"""Rates that are nearer count as the same: where pods are 60 % busy so much more takes 1.6 times as long, and where they are half
busy 1.33 times."""
_DEVIATIONS = 3.0
"""Of what chance makes of the number of requests."""


class Traffic(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """What came in a while. `requests`: how many; `beside`: the sum over them of how many others a second came with each."""

    requests: int = 0
    beside: float = 0.0

    def after(self, requests: int, seconds: float) -> "Traffic":
        """With so many more, which came in so many seconds more than 0."""
        beside = self.beside + requests * max(requests - 1, 0) / seconds
        return Traffic(self.requests + requests, round(beside, 3))

    def since(self, before: "Traffic") -> "Traffic":
        """What came after a moment, of which this counted so much; nothing if it did not begin before it."""
        requests, beside = self.requests - before.requests, self.beside - before.beside
        return Traffic(requests, beside) if requests > 0 and beside > 0.0 else NOTHING

    @property
    def rate(self) -> float:
        """Requests a second; 0 where nothing is known."""
        return self.beside / self.requests if self.requests else 0.0

    def is_more_than(self, rate: float) -> bool:
        """Whether it surely was another load than one of so many requests a second: of 0 nothing is known."""
        if not rate or not self.requests:
            return False
        return self.rate * (1.0 - _DEVIATIONS / sqrt(self.requests)) > MORE * rate


NOTHING = Traffic()
