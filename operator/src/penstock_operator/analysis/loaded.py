"""The version before as it was when it had most of the requests: what a candidate that has all of them is measured against.

    Ledger.totals --revisions before the stage--> the newest in which it had most of the requests --> Loaded | None

With all requests at the candidate the version before gets copies of a part of them. Its pods wait less, its batches are
smaller: in a queue that is half full any version takes 1.8 times as long as with a fifth of the load. What it did earlier in the
rollout, with a shadow or at a small step beside it, or just before, it did under nearly as much load as the candidate has now.
That was at another time, so it proves no harm alone, nor that of a moment (`lasting`). Nor was the load quite the same, or
anything else: its latencies are given in the wider bins, in which harm has to be the greater.

In those moments the candidate had few requests, or copies, beside the many of the version before; now it is the other way round.
By how much the load made it longer then, for two versions that are equal, it does now (`Loaded.factor`). Both ratios are of the
same moments each, so that what is slow for both cancels, however long it lasts: a crossover (Jones & Kenward, Design and Analysis
of Cross-Over Trials, 2014, ch. 2).

Invariant: pods of a baseline of its own are no part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from penstock.evidence.document import Entry
from penstock_operator.analysis.arms import Arm
from penstock_operator.analysis.bins import COARSE, coarsened, ratio_of
from penstock_operator.analysis.merged import read_arm
from penstock_operator.statistics.quantile import Sample

_MOST = 0.85
"""Of the requests: parts that are greater count as the same, so that the nearest in time is taken."""
ENOUGH = 1000
"""Latencies that a revision needs to be chosen: ten of them are beyond the p99. One that lasted a few seconds would
leave harm unseen for ever."""
_FEW = 100
"""Of the candidate in it, for a median that is known to a few per cent."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The version before in such moments: its `arm`, the `revision` of the route in which they were, and `factor`: how many times
    as long as the candidate, in the median, it took in them; 1 where it was quicker, and where the candidate had too few requests
    in them, as before the rollout."""

    arm: Arm
    revision: int
    factor: float


def read_loaded(totals: Sequence[Entry], *, candidate: str, baseline: str, revisions: range) -> Loaded | None:
    """The baseline's counts under that of these revisions of the route in which the greatest part of the live requests was its
    own, of several in which it had most the newest; None where it has too few in each. `candidate`, `baseline`: digests."""
    chosen = _chosen(totals, candidate, baseline, revisions)
    if chosen is None:
        return None
    most = read_arm(chosen)
    joining = [read_arm(one) for one in totals if (one.bundle, one.revision, one.arm) == (candidate, chosen.revision, "")]
    few = max(joining, key=lambda arm: sum(arm.latency.values()), default=Arm())
    arm = replace(most, latency=coarsened(most.latency, most.per_doubling, COARSE), per_doubling=COARSE)
    return Loaded(arm, chosen.revision, _factor(most, few))


def _factor(most: Arm, few: Arm) -> float:
    if sum(few.latency.values()) < _FEW:
        return 1.0
    scale = min(most.per_doubling, few.per_doubling)
    bins = [Sample.of(coarsened(arm.latency, arm.per_doubling, scale)).bin_of(0.5) for arm in (most, few)]
    return max(ratio_of(bins[0] - bins[1], scale), 1.0)


def _chosen(totals: Sequence[Entry], candidate: str, baseline: str, revisions: range) -> Entry | None:
    live = [entry for entry in totals if entry.revision in revisions and not entry.shadow]
    sent: dict[int, int] = {}
    for entry in live:
        if entry.bundle in (candidate, baseline):
            sent[entry.revision] = sent.get(entry.revision, 0) + entry.requests
    return max(
        (entry for entry in live if entry.bundle == baseline and not entry.arm and _measured(entry) >= ENOUGH),
        key=lambda entry: (min(entry.requests / max(sent[entry.revision], 1), _MOST), entry.revision),
        default=None,
    )


def _measured(entry: Entry) -> int:
    """How many latencies are compared: a key's first in a minute, where they are told by keys."""
    return sum(read_arm(entry).latency.values())
