"""What one look at a log finds: each bound beside the value, and whether it is passed. Values only.

    Quality, Distance + Watch --judge_quality, judge_drift--> Finding, …

Invariant: a bound is passed only by a value that is established: by more than twice its standard error where it has one, and by
the distance that chance does not explain. What cannot be said is not passed.
"""

import msgspec

from penstock_transformer.feedback.quality import Quality
from penstock_transformer.feedback.trigger.bounds import Bound, Watch
from penstock_transformer.feedback.trigger.drift import Distance
from penstock_transformer.feedback.trigger.window import Window

QUALITY, FEATURE, OUTPUT = "quality", "feature", "output"
ALPHA = 0.01
"""Chance that a look finds any drift that is none, over all features and outputs."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One bound. `established`: what the value is at least (or, for a bound of `least`, at most) for all that is known."""

    kind: str
    name: str
    value: float
    established: float
    bound: float
    passed: bool
    least: bool = False

    @property
    def text(self) -> str:
        """In words."""
        direction, edge = ("least", "at most") if self.least else ("most", "at least")
        what = self.name if self.kind == QUALITY else f"distance of the {self.kind} {self.name} from training"
        verdict = "passed" if self.passed else "held"
        sure = "" if self.established == self.value else f" (surely {edge} {self.established:.4g})"
        return f"{what} {self.value:.4g}{sure}, at {direction} {self.bound:.4g} is asked for: {verdict}"


class Look(msgspec.Struct, frozen=True):
    """A window judged. `bundle`: the digest of the one that answers now, "" without any; `rows` of it were logged, `outcomes`
    have one. `note`: why nothing can be said, "" if something can."""

    window: Window
    bundle: str = ""
    label: str = ""
    version: str | None = None
    rows: int = 0
    outcomes: int = 0
    findings: tuple[Finding, ...] = ()
    note: str = ""

    @property
    def passed(self) -> tuple[Finding, ...]:
        """The bounds that are."""
        return tuple(one for one in self.findings if one.passed)


def judge_quality(watch: Watch, quality: Quality | None) -> list[Finding]:
    """The bounds of quality that can be judged, which takes `least_rows` outcomes."""
    if quality is None or quality.rows < watch.least_rows:
        return []
    return [finding for bound in watch.quality for finding in _of_measure(bound, quality)]


def _of_measure(bound: Bound, quality: Quality) -> list[Finding]:
    value: float | None = getattr(quality, bound.measure)
    if value is None:
        return []
    # What has no standard error counts as it is.
    twice = 2 * (getattr(quality, f"{bound.measure}_error", None) or 0.0)
    found = []
    if bound.least is not None:
        sure = value + twice
        found.append(Finding(QUALITY, bound.measure, value, sure, bound.least, sure < bound.least, least=True))
    if bound.most is not None:
        sure = value - twice
        found.append(Finding(QUALITY, bound.measure, value, sure, bound.most, sure > bound.most))
    return found


def judge_drift(kind: str, name: str, found: Distance, bound: float) -> Finding:
    """One feature or output."""
    return Finding(kind, name, found.seen, found.established, bound, found.established > bound)
