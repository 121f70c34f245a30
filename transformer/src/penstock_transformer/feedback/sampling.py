"""Which requests are logged: a share of all, of which a part may go to the answers that are rare.

    predictions of a request --bins--> chance --a draw--> logged with that chance, or not

With rate r, rarity m and a bin's share f among B bins seen, a request is logged with the chance r * ((1 - m) + m / (B * f)): the
whole stays at r as long as nothing is cut at 1, and the part m of it is spread over the bins equally.

Invariant: the chance is a function of the answer and of what was answered before, never of what is known later; it is written
beside the request, so that a mean weighted by 1 / chance is the mean of all requests (Horvitz and Thompson, 1952).
"""

import math
import random
from collections.abc import Callable, Hashable, Sequence
from typing import Any

# Bins that one bundle's answers may fall into; further ones count as one.
_MOST_BINS = 256
# Rows of one request that are looked at.
_MOST_ROWS = 64
# Answers after which older ones count half: shares follow the traffic.
_HALVED_AT = 20_000
_OTHER = "other"


def bin_of(prediction: dict[str, Any]) -> Hashable:
    """The kind of answer that a prediction is: its label and the tenth that its score is in, or a number's sign and magnitude."""
    label = prediction.get("label")
    if label is not None:
        score = (prediction.get("scores") or {}).get(label)
        return label, None if score is None else int(score * 10)
    value = prediction.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)[:40]
    return (value > 0) - (value < 0), math.frexp(value)[1]


class Sampler:
    """Decides for the requests of one process. Used on one thread. `draw` gives numbers in [0, 1)."""

    def __init__(self, rate: float, rarity: float = 0.0, *, draw: Callable[[], float] = random.random) -> None:
        self.rate = rate
        self.rarity = rarity
        self._draw = draw
        self._bins: dict[str, dict[Hashable, float]] = {}
        self._totals: dict[str, float] = {}

    def chance(self, bundle: str, predictions: Sequence[dict[str, Any]]) -> float:
        """With which chance a request with these answers is logged; it is counted."""
        if not self.rarity or not predictions:
            return self.rate
        bins, total = self._bins.setdefault(bundle, {}), self._totals.get(bundle, 0.0)
        rarest = math.inf
        for prediction in predictions[:_MOST_ROWS]:
            kind = bin_of(prediction)
            if kind not in bins and len(bins) >= _MOST_BINS:
                kind = _OTHER
            bins[kind] = count = bins.get(kind, 0.0) + 1.0
            total += 1.0
            rarest = min(rarest, count)
        self._totals[bundle] = total
        if total > _HALVED_AT:
            self._halve(bundle)
        share = rarest / total
        return min(1.0, self.rate * ((1.0 - self.rarity) + self.rarity / (len(bins) * share)))

    def taken(self, chance: float) -> bool:
        """Whether this one is."""
        return chance >= 1.0 or self._draw() < chance

    def _halve(self, bundle: str) -> None:
        self._bins[bundle] = halved = {kind: count / 2 for kind, count in self._bins[bundle].items()}
        self._totals[bundle] = sum(halved.values())
