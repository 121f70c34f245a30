"""What one test found, and what it remembers: the greatest that its two log e-values have been in this stage."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Of one test. `HARMFUL`: worse by more than the margin. `HARMLESS`: not worse by more than it."""

    HARMFUL = "harmful"
    HARMLESS = "harmless"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Measured:
    """A test's log e-values, `harm` against "no worse than the margin" and `harmless` against "worse than it", which is asked for
    while it decides something, and its words: called with the verdict, because bounds cost more than e-values."""

    test: str
    harm: float
    harmless: Callable[[], float]
    describe: Callable[[Verdict], str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One test's verdict. `harm` and `harmless`: the greatest log e-values so far, `harmless` until it has decided;
    `needed_harm`, `needed_harmless`: from where they decide. `words`: numbers of both versions, bound and margin, without the
    test's name or a full stop."""

    test: str
    verdict: Verdict
    harm: float
    harmless: float
    needed_harm: float
    needed_harmless: float
    words: str


def judge(
    measured: Measured, before: tuple[float, float], needed_harm: float, needed_harmless: float, *, tell_all: bool = True
) -> Finding:
    """The verdict of a test. `before`: its greatest log e-values at earlier looks. An e-process that once reached its threshold
    has decided, whatever it is now; where both have, harm counts."""
    harm = max(before[0], measured.harm)
    harmless = before[1] if before[1] >= needed_harmless else max(before[1], measured.harmless())
    verdict = Verdict.UNDECIDED
    if harm >= needed_harm:
        verdict = Verdict.HARMFUL
    elif harmless >= needed_harmless:
        verdict = Verdict.HARMLESS
    words = measured.describe(verdict) if tell_all or verdict is Verdict.HARMFUL else ""
    return Finding(measured.test, verdict, harm, harmless, needed_harm, needed_harmless, words)
