"""What turned out to be true of both versions' answers, as a log's sink told it: counts of each revision of the route.

    QualityEntry of every sink --strata--> Stratum of each revision in which both versions have outcomes

Invariant: only what the route assigned under one and the same revision is compared; what named its bundle is left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from penstock.evidence.quality import QualityEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """One bundle's, under one revision of the route. `rows` have an outcome. `weight` units, of which `wrong` were wrong, and
    `cost` by costs, 0 to 1; both in rows of a chance of 1. `least`: the smallest chance that one was logged with. `table`: the
    digest of the costs, empty for none, `low` their lowest, `spread` the highest less that."""

    rows: int = 0
    weight: float = 0.0
    wrong: float = 0.0
    cost: float = 0.0
    least: float = 1.0
    shadow: bool = False
    table: str = ""
    low: float = 0.0
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Stratum:
    """Both bundles' outcomes under one revision."""

    candidate: Outcomes
    baseline: Outcomes


def strata(entries: Iterable[QualityEntry], *, candidate: str, baseline: str, since: int) -> tuple[Stratum, ...]:
    """The revisions from `since` on in which both digests have outcomes, oldest first. A version that answers counts as such,
    one that is only shadowed by its copies."""
    entries = [
        entry for entry in entries if entry.revision is not None and entry.revision >= since and entry.sums.units.weight > 0.0
    ]
    found = []
    for revision in sorted({entry.revision for entry in entries if entry.revision is not None}):
        ours, theirs = (_outcomes(entries, revision, digest) for digest in (candidate, baseline))
        if ours is not None and theirs is not None and not (ours.shadow and theirs.shadow):
            found.append(Stratum(ours, theirs))
    return tuple(found)


def _outcomes(entries: list[QualityEntry], revision: int, digest: str) -> Outcomes | None:
    mine = [entry for entry in entries if entry.bundle == digest and entry.revision == revision]
    if not mine:
        return None
    entry = min(mine, key=lambda one: one.shadow)
    sums, units = entry.sums, entry.sums.units
    return Outcomes(
        rows=sums.rows,
        weight=units.weight,
        wrong=units.wrong,
        cost=units.cost,
        least=units.least,
        shadow=entry.shadow,
        table=sums.table if units.costed else "",
        low=sums.low,
        spread=sums.high - sums.low,
    )
