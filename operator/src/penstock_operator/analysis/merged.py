"""What transformers told, as the arms of an analysis: from `penstock.evidence` entries to `arms`.

    Ledger.totals --entries of the stage's revisions--> Evidence(candidate, baseline, pairs)

Invariant: only entries of the same route revisions are compared, those in which the candidate had this stage's weight (or was
its shadow). What one arm did under other weights was done to other requests.

Latency, outputs and pairs are told by keys. A transformer of an older release tells them by requests only: these are then taken,
each for as much of one as there were keys to requests. That is right for callers who are all as loud, and the same as that
release's operator did. Of entries to which both kinds of transformers added, what was told by keys is taken, of both arms.

The release before told latencies by keys, and in bins twice as wide. Where any of an arm's were counted so, all of it is read so.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from penstock.evidence import document
from penstock.evidence.adding import added
from penstock.evidence.document import Entry
from penstock.evidence.halves import by_half
from penstock.evidence.profiles import against_training
from penstock_operator.analysis.arms import Arm, Evidence, Histogram, Pairs, weight_of
from penstock_operator.analysis.bins import COARSE, FINE
from penstock_operator.analysis.callers import failed_once

NOT_BY_THE_VERSION = frozenset({"unauthenticated", "forbidden", "cancelled"})
"""Errors that no bundle had a part in. Refused requests count: a version whose feature spec refuses more of them is worse."""
_LEFT = "cancelled"
"""Of no key either: what became of these requests is not known."""


def stage_evidence(
    totals: Iterable[Entry], *, candidate: str, baseline: str, revisions: Collection[int], shadow: bool = False, arm: str = ""
) -> Evidence:
    """The evidence of a stage. `candidate` and `baseline` are digests, `revisions` those of the route in which this stage stood;
    `shadow`: the candidate answered copies. Past the last revision with both, a baseline that is shadowed stands for itself.
    `arm`: of the route, whose pods stand for the baseline; then only revisions that have it count, and no other pods of it."""
    entries = [entry for entry in totals if entry.revision in revisions]
    if arm:
        armed = {entry.revision for entry in entries if entry.bundle == baseline and entry.arm == arm}
        entries = [entry for entry in entries if entry.revision in armed]
    ours = _of(entries, candidate, shadow=shadow)
    theirs = _of(entries, baseline, shadow=False, arm=arm) or _of(entries, baseline, shadow=True)
    return Evidence(candidate=_sticking(ours), baseline=_sticking(theirs), pairs=_read_pairs(ours) if shadow else None)


def read_arm(entry: Entry | None) -> Arm:
    """One version's counts; empty of None."""
    if entry is None:
        return Arm()
    failed = sum(number for kind, number in entry.failed_keys.items() if kind not in NOT_BY_THE_VERSION)
    latency = entry.latency
    wide = latency.keys or latency.request
    halves = by_half(wide, latency.keys_upper, latency.keys_halved)
    return Arm(
        units=entry.keys,
        failed=failed,
        requests=entry.requests,
        uncounted=entry.unkeyed + entry.errors.get(_LEFT, 0),
        rows=entry.rows,
        calls=_calls(entry),
        latency=dict(wide) if halves is None else halves,
        outputs={name: _by_keys(histogram, entry) for name, histogram in entry.outputs.items()},
        training=_Training(entry),
        per_doubling=COARSE if halves is None else FINE,
    )


def _sticking(entry: Entry | None) -> Arm:
    """One version's counts, and who is behind them."""
    arm = read_arm(entry)
    if entry is None or entry.callers is None:
        return arm
    return replace(arm, callers=entry.callers, once=failed_once(entry.callers, sum(entry.failed_keys.values())))


def _calls(entry: Entry) -> int:
    latency = entry.latency
    return latency.batches if latency.keys else min(sum(number for _, number in latency.call), entry.keys)


def _by_keys(histogram: document.Histogram, entry: Entry) -> Histogram:
    if histogram.keys:
        return histogram.keys
    weight = weight_of(sum(histogram.counts), entry.keys)
    return [weight * number for number in histogram.counts]


class _Training(Mapping[str, tuple[Histogram, Histogram]]):
    """Answers beside the training's, put into its bins when they are asked for: only words do. Of features the operator keeps
    nothing."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def __getitem__(self, name: str) -> tuple[Histogram, Histogram]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @cached_property
    def _found(self) -> dict[str, tuple[Histogram, Histogram]]:
        told = self._entry.outputs.items()
        found = ((name, against_training(one, _by_keys(one, self._entry))) for name, one in told)
        return {name: compared for name, compared in found if compared is not None}


def _of(entries: Sequence[Entry], bundle: str, *, shadow: bool, arm: str = "") -> Entry | None:
    found = [entry for entry in entries if (entry.bundle, entry.shadow, entry.arm) == (bundle, shadow, arm)]
    return added(found) if found else None


def _read_pairs(entry: Entry | None) -> Pairs:
    if entry is None or entry.paired is None:
        return Pairs()
    weight, told = 1.0, entry.paired.keys
    if told is None:
        told = entry.paired
        weight = weight_of(entry.requests, entry.keys)
    halves = by_half(told.latency_ratios, told.ratios_upper, told.ratios_halved)
    ratios = dict(told.latency_ratios) if halves is None else halves
    return Pairs(
        requests=entry.paired.requests,
        # Told of copies alone; some of these are in no pair.
        uncounted=entry.unkeyed * entry.paired.requests / max(entry.requests, 1),
        units=weight * told.requests,
        agreeing=weight * told.agreeing,
        differing=weight * told.differing,
        ratios={number: weight * count for number, count in ratios.items()},
        calls=_calls(entry),
        only_shadow_failed=weight * told.only_shadow_failed,
        only_answer_failed=weight * told.only_answer_failed,
        per_doubling=COARSE if halves is None else FINE,
    )
