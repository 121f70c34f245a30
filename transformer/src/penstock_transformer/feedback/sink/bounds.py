"""Bounds of quality: from where a measure of a bundle that answers is bad enough for somebody to be told.

accuracy=0.7,cost=12 --read_bounds--> Bounds --passed(Quality)--> which measures are beyond theirs

Invariant: a measure is beyond its bound only by more than twice its standard error, where it has one, and over enough rows: a
handful of outcomes wakes nobody.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from penstock_transformer.feedback.quality import Quality

_LEAST = frozenset({"accuracy", "auc"})
"""Measures of which more is better; of the others less, of the bias less in either direction."""
_MOST = frozenset({"calibration_error", "bias", "mean_absolute_error", "root_mean_squared_error", "cost"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """A bound by measure, and how many rows a bundle must have for it."""

    by_measure: dict[str, float] = field(default_factory=dict)
    least_rows: int = 100

    def passed(self, quality: Quality) -> Iterator[tuple[str, bool]]:
        """Each bounded measure that a bundle has, and whether it is beyond its bound."""
        for measure, bound in self.by_measure.items():
            value = getattr(quality, measure)
            if value is None:
                continue
            slack = 2.0 * (getattr(quality, f"{measure}_error", None) or 0.0)
            worse = bound - value if measure in _LEAST else (abs(value) if measure == "bias" else value) - bound
            yield measure, quality.rows >= self.least_rows and worse > slack


def read_bounds(texts: Sequence[str], least_rows: int) -> Bounds:
    """`accuracy=0.7`, … Raises ValueError."""
    found: dict[str, float] = {}
    for text in texts:
        measure, _, number = text.partition("=")
        if measure not in _LEAST | _MOST:
            raise ValueError(f"--quality_bounds: expected one of {', '.join(sorted(_LEAST | _MOST))}, got {measure[:80]!r}")
        try:
            found[measure] = float(number)
        except ValueError:
            raise ValueError(f"--quality_bounds: expected {measure}=NUMBER, got {text[:80]!r}") from None
    return Bounds(found, least_rows)
