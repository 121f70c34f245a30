"""Models whose topic takes nothing at present (it is missing, or not ours to write): they wait, and hold nobody else.

A batch that the broker refuses is given back. Of several models nobody can say which it was: then batches hold one model
each for a while, until the culprit stands alone.
"""

from collections.abc import Collection


class Shunned:
    """Which models to leave out of a claim, and until when. Times in s, of the machine's clock."""

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._until: dict[str, tuple[float, float]] = {}  # when to try again, and how long it was left out
        self._narrow_until = 0.0

    def refuse(self, models: Collection[str], now: float) -> None:
        """A batch of these was refused."""
        if len(models) > 1:
            self._narrow_until = now + self._most_s
            return
        for model in models:
            _, waited_s = self._until.get(model, (0.0, 0.0))
            wait_s = min(self._most_s, max(self._least_s, waited_s * 2))
            self._until[model] = (now + wait_s, wait_s)

    def accept(self, models: Collection[str]) -> None:
        """A batch of these was sent."""
        for model in models:
            self._until.pop(model, None)

    def avoided(self, now: float) -> frozenset[str]:
        """The models to leave out."""
        return frozenset(model for model, (until, _) in self._until.items() if until > now)

    def narrow(self, now: float) -> bool:
        """Whether a batch is to hold one model alone."""
        return now < self._narrow_until
