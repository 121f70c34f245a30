"""Adding and subtracting evidence: of many processes, and of two looks at one. Pure; nothing that is given is changed.

    added([entry of pod a, entry of pod b]) -> one entry          difference(later, earlier) -> what came between

Invariant: `added` knows no order, and `added([earlier, difference(later, earlier)])` is `later`. A histogram whose bins are not
those of the first of its name is left out: counts of other bins cannot be added, and under one revision only a process that is
wrong has others. Of what came after a look of which not all halves were known (`halves`), none is.
"""

from collections.abc import Collection, Iterable, Sequence
from operator import add, sub
from typing import TypeVar

from penstock.evidence import callers
from penstock.evidence.callers import Callers, Sample
from penstock.evidence.document import Counts, Entry, EntryKey, Histogram, Latency, Paired
from penstock.evidence.halves import are_known

_PAIRED_NUMBERS = (
    "requests", "agreeing", "differing", "slower", "faster", "only_shadow_failed", "only_answer_failed", "both_failed",
    "left_out", "ratios_halved",
)  # fmt: skip
_PAIRED_COUNTS = ("score_differences", "latency_ratios", "ratios_upper")
_NUMBERS = ("requests", "rows", "keys", "unkeyed", "moved")

K = TypeVar("K")
N = TypeVar("N", int, float)


class Fallen(ValueError):
    """A count is lower than it was: not the same process, or one that does not tell the truth."""


def added(entries: Sequence[Entry]) -> Entry:
    """The sum of at least one entry of one bundle; revision, shadow and arm are the first's."""
    first = entries[0]
    if len(entries) == 1:
        return first
    pairs = [entry.paired for entry in entries if entry.paired is not None]
    return Entry(
        first.bundle,
        first.revision,
        first.shadow,
        first.version,
        **{name: sum(getattr(entry, name) for entry in entries) for name in _NUMBERS},
        errors=_summed(entry.errors for entry in entries),
        failed_keys=_summed(entry.failed_keys for entry in entries),
        latency=Latency(
            add_counts(entry.latency.call for entry in entries),
            add_counts(entry.latency.request for entry in entries),
            add_counts(entry.latency.keys for entry in entries),
            sum(entry.latency.batches for entry in entries),
            add_counts(entry.latency.keys_upper for entry in entries),
            sum(entry.latency.keys_halved for entry in entries),
        ),
        outputs=_histograms([entry.outputs for entry in entries]),
        features=_histograms([entry.features for entry in entries]),
        paired=_pairs(pairs) if pairs else None,
        arm=first.arm,
        callers=added_callers([entry.callers for entry in entries if entry.callers is not None]),
    )


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """Entries of many processes, those of one bundle, revision, mode and arm made one; sorted by these."""
    found: dict[EntryKey, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.key, []).append(entry)
    return [added(found[key]) for key in sorted(found)]


def difference(later: Entry, earlier: Entry | None) -> Entry:
    """What came between two looks at one process; all of it where there was no first look. Raises Fallen."""
    if earlier is None:
        return later
    numbers = {name: _less(getattr(later, name), getattr(earlier, name)) for name in _NUMBERS}
    return Entry(
        later.bundle,
        later.revision,
        later.shadow,
        later.version,
        **numbers,
        errors=_remaining(later.errors, earlier.errors),
        failed_keys=_remaining(later.failed_keys, earlier.failed_keys),
        latency=_latency_since(later.latency, earlier.latency),
        outputs=_since(later.outputs, earlier.outputs),
        features=_since(later.features, earlier.features),
        paired=_paired_since(later.paired, earlier.paired),
        arm=later.arm,
        callers=callers_since(later.callers, earlier.callers),
    )


def add_counts(several: Iterable[list[tuple[int, N]]]) -> list[tuple[int, N]]:
    """Sparse counts, or weights, added bin by bin."""
    return sorted([one for one in _totals(several).items() if one[1]])


def subtract_counts(later: Counts, earlier: Counts) -> Counts:
    """What came to sparse counts. Raises Fallen."""
    if not later and not earlier:
        return []
    before = dict(earlier)
    repeated = len(before) < len(earlier)
    left = [(number, came) for number, count in later if (came := count - before.pop(number, 0))]
    # Mostly few are left: what is wrong, or told in pieces, shows in these, and no dict of all the later ones is needed.
    if repeated or any(before.values()) or (left and (min([came for _, came in left]) < 0 or len(dict(left)) < len(left))):
        left = list(_remaining(_totals([later]), _totals([earlier])).items())
    return sorted(left)


def _latency_since(later: Latency, earlier: Latency) -> Latency:
    since = Latency(
        subtract_counts(later.call, earlier.call),
        subtract_counts(later.request, earlier.request),
        subtract_counts(later.keys, earlier.keys),
        _less(later.batches, earlier.batches),
    )
    if are_known(earlier.keys, earlier.keys_halved):
        since.keys_upper = subtract_counts(later.keys_upper, earlier.keys_upper)
        since.keys_halved = _less(later.keys_halved, earlier.keys_halved)
    return since


def _pairs(pairs: Sequence[Paired]) -> Paired:
    total = Paired()
    for name in _PAIRED_NUMBERS:
        setattr(total, name, sum(getattr(one, name) for one in pairs))
    for name in _PAIRED_COUNTS:
        setattr(total, name, add_counts(getattr(one, name) for one in pairs))
    by_keys = [one.keys for one in pairs if one.keys is not None]
    total.keys = _pairs(by_keys) if by_keys else None
    return total


def _paired_since(later: Paired | None, earlier: Paired | None) -> Paired | None:
    if earlier is None:
        return later
    if later is None:
        raise Fallen("pairs")
    since = Paired()
    for name in _PAIRED_NUMBERS:
        setattr(since, name, _less(getattr(later, name), getattr(earlier, name)))
    for name in _PAIRED_COUNTS:
        setattr(since, name, subtract_counts(getattr(later, name), getattr(earlier, name)))
    if not are_known(earlier.latency_ratios, earlier.ratios_halved):
        since.ratios_upper, since.ratios_halved = [], 0
    since.keys = _paired_since(later.keys, earlier.keys)
    return since


def added_callers(several: Sequence[Callers]) -> Callers | None:
    """The sum; None of none."""
    if len(several) < 2:
        return several[0] if several else None
    names = sorted({name for one in several for name in one.alike})
    told = {name: [one.alike[name] for one in several if name in one.alike] for name in names}
    return Callers(
        sum(one.keyed for one in several),
        callers.added(one.came for one in several),
        callers.added(one.failed for one in several),
        {name: (sum(pairs for pairs, _ in each), sum(same for _, same in each)) for name, each in told.items()},
        add_counts(one.quicker for one in several),
        add_counts(one.slower for one in several),
    )


def callers_since(later: Callers | None, earlier: Callers | None) -> Callers | None:
    """What came between two looks at one process, as `difference`. Raises Fallen."""
    if earlier is None:
        return later
    if later is None:
        raise Fallen("callers")
    if earlier.alike.keys() - later.alike.keys():
        raise Fallen("an output of callers is gone")
    nothing = (0, 0)
    alike = {
        name: (_less(pairs, earlier.alike.get(name, nothing)[0]), _less(same, earlier.alike.get(name, nothing)[1]))
        for name, (pairs, same) in later.alike.items()
    }
    return Callers(
        _less(later.keyed, earlier.keyed),
        _sample_since(later.came, earlier.came),
        _sample_since(later.failed, earlier.failed),
        {name: told for name, told in alike.items() if told != nothing},
        subtract_counts(later.quicker, earlier.quicker),
        subtract_counts(later.slower, earlier.slower),
    )


def _sample_since(later: Sample, earlier: Sample) -> Sample:
    _less(later.level, earlier.level)
    # Of its own level: with what there was before it is then the later one again.
    return Sample(later.level, subtract_counts(later.counts, callers.of_level(earlier, later.level)))


def _histograms(several: Sequence[dict[str, Histogram]]) -> dict[str, Histogram]:
    found: dict[str, list[Histogram]] = {}
    for histograms in several:
        for name, histogram in histograms.items():
            found.setdefault(name, []).append(histogram)
    return {name: _histogram(each) for name, each in sorted(found.items())}


def _histogram(several: Sequence[Histogram]) -> Histogram:
    first = several[0]
    same = [histogram for histogram in several if histogram.bins == first.bins]
    training = next((histogram.training for histogram in several if histogram.training is not None), None)
    counts, keys = first.counts, first.keys
    for one in same[1:]:
        counts = list(map(add, counts, one.counts))
        keys = list(map(add, keys, one.keys)) if keys and one.keys else keys or one.keys
    return Histogram(first.bins, counts, training, keys)


def _since(later: dict[str, Histogram], earlier: dict[str, Histogram]) -> dict[str, Histogram]:
    found = {}
    for name, histogram in later.items():
        before = earlier.get(name)
        if before is None:
            found[name] = histogram
        elif before.bins == histogram.bins:
            counts = list(map(sub, histogram.counts, before.counts))
            keys = list(map(sub, histogram.keys, before.keys)) if before.keys else histogram.keys
            if min(counts, default=0) < 0 or min(keys, default=0) < 0 or len(keys) < len(before.keys):
                raise Fallen(f"a count of {name}")
            found[name] = Histogram(histogram.bins, counts, histogram.training, keys)
        else:
            raise Fallen(f"the bins of {name}")
    if earlier.keys() - later.keys():
        raise Fallen("a histogram is gone")
    return found


def _summed(several: Iterable[dict[str, int]]) -> dict[str, int]:
    return dict(sorted(_totals(counts.items() for counts in several).items()))


def _totals(several: Iterable[Collection[tuple[K, N]]]) -> dict[K, N]:
    found: dict[K, N] = {}
    for one in several:
        if not found:
            found = dict(one)
            if len(found) == len(one):
                continue
            # A key more than once: from the beginning, one by one.
            found = {}
        for key, count in one:
            found[key] = found[key] + count if key in found else count
    return found


def _remaining(later: dict[K, int], earlier: dict[K, int]) -> dict[K, int]:
    left = {key: came for key, count in later.items() if (came := count - earlier.get(key, 0))}
    if left and min(left.values()) < 0:
        raise Fallen("a count fell")
    if not later.keys() >= earlier.keys() and any(count and key not in later for key, count in earlier.items()):
        raise Fallen("a count is gone")
    return left


def _less(later: int, earlier: int) -> int:
    if later < earlier:
        raise Fallen(f"{later} after {earlier}")
    return later - earlier
