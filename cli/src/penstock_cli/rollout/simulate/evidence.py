"""Made counts written as the evidence of transformers: what the operator would add up from its pods.

Counts of a while --entry_of--> Entry --added to the others of its bundle, revision and mode--> the operator's analysis
"""

import numpy as np
from numpy.typing import NDArray

from penstock.evidence import document
from penstock.evidence.halves import halved
from penstock_cli.rollout.simulate.counts import LABEL, SCORE, SCORE_BINS, Counts, Paired, whole_bins

STABLE, CANDIDATE = "sha256:" + "5" * 64, "sha256:" + "c" * 64
"""The digests of the two bundles."""

_SCORES = document.Bins(edges=tuple(place / SCORE_BINS for place in range(SCORE_BINS + 1)))
_LABELS = document.Bins(values=("late", "on time"))


def entry_of(counts: Counts, bundle: str, revision: int, version: str, *, shadow: bool = False, arm: str = "") -> document.Entry:
    """What a pod would tell of these counts. Each request is a batch of its own; what answers are made of is told of keys alone,
    for nobody decides by the rest."""
    late, broken = counts.late, counts.errors - counts.late
    every = sparse(whole_bins(counts.all_latency))
    first, upper, known = halved(counts.latency.tolist())
    scores, answered = [0, *counts.outputs.tolist(), 0, 0, 0], int(counts.outputs.sum())
    labels = [counts.positives, answered - counts.positives, 0, 0]
    return document.Entry(
        bundle,
        revision,
        shadow,
        version,
        requests=counts.requests,
        rows=counts.requests,
        errors={kind: number for kind, number in (("deadline_exceeded", late), ("internal", broken)) if number},
        keys=counts.keys,
        failed_keys={"internal": counts.failed_keys} if counts.failed_keys else {},
        latency=document.Latency(every, every, first, known, upper, known),
        outputs={
            SCORE: document.Histogram(_SCORES, scores, keys=scores),
            LABEL: document.Histogram(_LABELS, labels, keys=labels),
        },
        paired=_pairs(counts.paired, counts.paired_keys) if shadow else None,
        arm=arm,
        callers=counts.callers,
    )


def sparse(counts: NDArray[np.int64]) -> document.Counts:
    """Bins that hold any, with how many."""
    places = np.flatnonzero(counts)
    return list(zip(places.tolist(), counts[places].tolist(), strict=True))


def _pairs(pairs: Paired, by_keys: Paired | None = None) -> document.Paired:
    ratios, upper, known = halved(pairs.ratios.tolist())
    return document.Paired(
        requests=pairs.requests,
        agreeing=pairs.agreeing,
        differing=pairs.differing,
        score_differences=sparse(pairs.differences),
        slower=pairs.slower,
        faster=pairs.agreeing + pairs.differing - pairs.slower,
        latency_ratios=ratios,
        only_shadow_failed=pairs.only_shadow_failed,
        only_answer_failed=pairs.only_answer_failed,
        both_failed=pairs.both_failed,
        keys=None if by_keys is None else _pairs(by_keys),
        ratios_upper=upper,
        ratios_halved=known,
    )
