"""From what transformers told of a bundle to the counts that an analysis takes."""

from collections.abc import Sequence

from penstock.evidence.adding import added
from penstock.evidence.document import Entry, Histogram
from penstock_operator.analysis import Arm, Pairs


def arm_of(entries: Sequence[Entry]) -> Arm:
    """What one version did; all zero without any entry."""
    if not entries:
        return Arm()
    total = added(entries)
    return Arm(
        units=total.keys,
        failed=sum(total.failed_keys.values()),
        requests=total.requests,
        rows=total.rows,
        calls=sum(count for _, count in total.latency.call),
        latency=dict(total.latency.request),
        outputs=_counts(total.outputs),
        features=_counts(total.features),
    )


def pairs_of(entries: Sequence[Entry]) -> Pairs | None:
    """What a shadow did beside the answers; None if it has not been beside any."""
    paired = added(entries).paired if entries else None
    if paired is None:
        return None
    return Pairs(
        requests=paired.requests,
        agreeing=paired.agreeing,
        differing=paired.differing,
        ratios=dict(paired.latency_ratios),
        only_shadow_failed=paired.only_shadow_failed,
        only_answer_failed=paired.only_answer_failed,
    )


def _counts(histograms: dict[str, Histogram]) -> dict[str, list[int]]:
    return {name: histogram.counts for name, histogram in histograms.items()}
