"""The version before as it was when it had most of the requests: what a candidate that has all of them is measured against.

    Ledger.totals --revisions before the stage--> the newest in which it had most of the requests --> Arm | None

With all requests at the candidate the version before gets copies of a part of them. Its pods wait less, its batches are
smaller: in a queue that is half full any version takes 1.8 times as long as with a fifth of the load. What it did earlier in the
rollout, with a shadow or at a small step beside it, or just before, it did under nearly as much load as the candidate has now.
That was at another time, so it proves no harm alone, nor that of a moment (`lasting`). Nor was the load quite the same, or
anything else: its latencies are given in the wider bins, in which harm has to be the greater.

Invariant: pods of a baseline of its own are no part of it.
"""

from collections.abc import Iterable
from dataclasses import replace

from penstock.evidence.document import Entry
from penstock_operator.analysis.arms import Arm
from penstock_operator.analysis.bins import COARSE, coarsened
from penstock_operator.analysis.merged import read_arm

_MOST = 0.85
"""Of the requests: parts that are greater count as the same, so that the nearest in time is taken."""
ENOUGH = 1000
"""Latencies that a revision needs to be chosen: ten of them are beyond the p99. One that lasted a few seconds would
leave harm unseen for ever."""


def loaded_arm(totals: Iterable[Entry], *, candidate: str, baseline: str, revisions: range) -> Arm | None:
    """The baseline's counts under that of these revisions of the route in which the greatest part of the live requests was its
    own, of several in which it had most the newest; None where it has too few in each. `candidate`, `baseline`: digests."""
    live = [entry for entry in totals if entry.revision in revisions and not entry.shadow]
    sent: dict[int, int] = {}
    for entry in live:
        if entry.bundle in (candidate, baseline):
            sent[entry.revision] = sent.get(entry.revision, 0) + entry.requests
    chosen = max(
        (entry for entry in live if entry.bundle == baseline and not entry.arm and _measured(entry) >= ENOUGH),
        key=lambda entry: (min(entry.requests / max(sent[entry.revision], 1), _MOST), entry.revision),
        default=None,
    )
    if chosen is None:
        return None
    arm = read_arm(chosen)
    return replace(arm, latency=coarsened(arm.latency, arm.per_doubling, COARSE), per_doubling=COARSE)


def _measured(entry: Entry) -> int:
    """How many latencies are compared: a key's first in a minute, where they are told by keys."""
    return sum(read_arm(entry).latency.values())
