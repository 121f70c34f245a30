"""Counts in halves of bins, beside the bins that every release knows: how the document has them, and how they are read.

    by half, dense --halved--> bins, `upper`, `known` --added, subtracted, told--> by_half --> by half | None

Bins cannot be split afterwards, and a reader of another release must not take sixteenths of a doubling for eighths. So what was
told stays as it is, and beside it is told how many lay in the upper half of each bin, and of how many that is known at all: 0 of
what came from a process of a release before, or through a ledger that such an operator kept.

Invariant: the halves of a sum are read only if they are known of every count in it.
"""

from collections.abc import Sequence

Sparse = list[tuple[int, int]]


def halved(counts: Sequence[int]) -> tuple[Sparse, Sparse, int]:
    """Counts by half, one for each, as the document has them: by bin, those in the upper halves by bin, and how many they are."""
    bins: Sparse = []
    upper: Sparse = []
    known = 0
    for half, count in enumerate(counts):
        if not count:
            continue
        known += count
        number = half >> 1
        if bins and bins[-1][0] == number:
            bins[-1] = number, bins[-1][1] + count
        else:
            bins.append((number, count))
        if half & 1:
            upper.append((number, count))
    return bins, upper, known


def are_known(bins: Sparse, known: int) -> bool:
    """Whether it is known of all counts in which half they are."""
    return known == sum([count for _, count in bins])


def by_half(bins: Sparse, upper: Sparse, known: int) -> dict[int, int] | None:
    """Counts by half; None where it is not known of all of them."""
    above, found, total = dict(upper), {}, 0
    for number, count in bins:
        total += count
        high = above.pop(number, 0)
        if high < count:
            found[2 * number] = count - high
        elif high > count:
            return None
        if high:
            found[2 * number + 1] = high
    return found if total == known and not above else None
