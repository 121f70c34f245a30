"""Bins out of a bundle's profile.json: what live values are counted by, and what training looked like in the same bins.

    profile.json -> read_profile -> {name: Training} of features and of outputs -> common (of all bundles of a route) -> Bins

Outputs are named as predictions are: `label`, `value`, and `scores.<label>`. Bundles that are compared need the same bins:
`common` is the coarsest that every one of theirs can be made of, so that nothing is lost for either.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from penstock.evidence.document import Bins, Histogram, Training

_MOST_EDGES = 64
_MOST_VALUES = 200
_MOST_COUNT = 2**53
"""The greatest count that every reader of JSON takes for what it is."""

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Profile:
    """The distributions of a profile, by name. `spreads`: the standard deviation of each output that is a number."""

    features: dict[str, Training]
    outputs: dict[str, Training]
    spreads: dict[str, float]


NOTHING = Profile({}, {}, {})


def read_profile(content: bytes) -> Profile:
    """The distributions of a profile.json. What it does not have, or has in another form, is left out: evidence is no reason to
    refuse a bundle."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return NOTHING
    if not isinstance(document, dict):
        return NOTHING
    features = {name: one for name, found in _members(document, "features") if (one := _training(found)) is not None}
    described = dict(_members(document, "predictions"))
    named = {"label": described.get("labels"), "value": described.get("values")}
    named |= {f"scores.{name}": found for name, found in _members(described, "scores")}
    outputs = {name: one for name, found in named.items() if (one := _training(found)) is not None}
    spreads = {
        name: float(found["std"]) for name, found in named.items() if isinstance(found, dict) and _number(found.get("std"))
    }
    return Profile(features, outputs, spreads)


def name_value(value: Any) -> str:
    """A text or flag as profile.json names it, and so `Bins.values`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def common(bins: Iterable[Bins]) -> Bins | None:
    """The bins that each of these can be made of; None if some are of numbers and others of texts, or there are none."""
    several = list(dict.fromkeys(bins))
    if not several or len({bool(one.edges) for one in several}) > 1:
        return None
    if not several[0].edges:
        return Bins(values=tuple(sorted({value for one in several for value in one.values}))[:_MOST_VALUES])
    return Bins(edges=tuple(sorted({edge for one in several for edge in one.edges})))


def coarsened(bins: Bins, counts: Sequence[float], onto: Bins) -> list[float]:
    """Counts of fine bins as counts of coarser ones whose edges, or values, are among the fine ones'."""
    found: list[float] = [0] * onto.size
    found[-1] = counts[-1]
    if onto.edges:
        _put_numbers(bins.edges, counts, onto.edges, found)
    else:
        places = {value: place for place, value in enumerate(onto.values)}
        for value, count in zip(bins.values, counts, strict=False):
            found[places.get(value, len(onto.values))] += count
        found[-2] += counts[-2]
    return found


def against_training(histogram: Histogram, counts: Sequence[float] | None = None) -> tuple[list[float], list[int]] | None:
    """Live counts and training's, bin by bin, for a test of distance; None without a training to compare with. `counts`: others
    than all that the histogram has, in its bins.

    The bins are the training's: a profile's last bin holds its last edge too. Live values that training never saw, below, above
    or other, are bins of their own, with 0 of training."""
    training = histogram.training
    if training is None:
        return None
    live = coarsened(histogram.bins, histogram.counts if counts is None else counts, training.bins)
    return closed(live, training.bins), closed(list(training.counts), training.bins)


def closed(counts: list[N], bins: Bins) -> list[N]:
    """The counts with exactly the last edge in the bin before it, where there is one: as the bins of a profile are."""
    if len(bins.edges) < 2:
        return counts
    inner = counts[:-3]
    inner[-1] += counts[-3]
    return inner + counts[-2:]


def _put_numbers(edges: tuple[float, ...], counts: Sequence[float], onto: tuple[float, ...], found: list[float]) -> None:
    """Each fine bin goes where its lower edge lies; the one value of the last edge has a bin of its own."""
    found[0] += counts[0]
    last = onto[-1]
    for place, edge in enumerate(edges):
        count = counts[place + 1]
        if edge > last:
            found[-2] += count
        elif edge == last:
            # Of [e, next) only the value e itself belongs to the coarse last edge; what cannot be told apart goes above it.
            found[-3 if place == len(edges) - 1 else -2] += count
        else:
            found[sum(1 for one in onto if one <= edge)] += count
    found[-2] += counts[-2]


def _members(document: dict[str, Any], name: str) -> Iterable[tuple[str, Any]]:
    found = document.get(name)
    return found.items() if isinstance(found, dict) else ()


def _number(value: Any) -> bool:
    # Compared, which is exact: an integer of hundreds of digits has no float, and to ask whether it is finite is an error.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _count(value: Any) -> bool:
    return _number(value) and 0 <= value <= _MOST_COUNT


def _training(found: Any) -> Training | None:
    if not isinstance(found, dict):
        return None
    edges, values = found.get("edges"), found.get("values")
    if isinstance(edges, list) and all(map(_number, edges)) and edges:
        return _numbers(sorted({float(edge) for edge in edges})[:_MOST_EDGES], found)
    if isinstance(values, dict) and values:
        return _texts(values, found)
    return None


def _numbers(edges: list[float], found: dict[str, Any]) -> Training:
    bins = Bins(edges=tuple(edges))
    given = found.get("counts")
    # A profile's last bin is closed, and one of a single value has that value's count alone.
    inner = [int(n) for n in given] if isinstance(given, list) and all(map(_count, given)) else []
    counts = [0] * bins.size
    if len(edges) == 1:
        counts[1] = sum(inner)
    elif len(inner) == len(edges) - 1:
        counts[1 : len(edges)] = inner
    counts[-1] = _missing(found, sum(inner))
    return Training(bins, tuple(counts))


def _texts(values: dict[str, Any], found: dict[str, Any]) -> Training:
    kept = {str(name): int(count) for name, count in list(values.items())[:_MOST_VALUES] if _count(count)}
    return Training(
        Bins(values=tuple(sorted(kept))), (*(kept[name] for name in sorted(kept)), 0, _missing(found, sum(kept.values())))
    )


def _missing(found: dict[str, Any], present: int) -> int:
    """How many values were missing, of the share that the profile tells."""
    share = found.get("missing")
    if not _number(share) or not 0 < float(share or 0) < 1:
        return 0
    return round(present * float(share or 0) / (1 - float(share or 0)))
