"""A shadow against the answer that callers got, on the same request: compared once both are there, in batches of pairs.

    live work ----> Pair.answer --\\
                                   both there --> Backlog --> compare --> PairSums of the shadow
    its copy  ----> Pair.shadow --/

Invariant: a pair is counted at most once, and not at all if either half is never known: a copy that the shadow's queue had no
room for, a request that went where nothing is counted. `Paired.keys` counts a key once in a window, and no more once one of its
pairs has failed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec.structs import replace

from penstock.errors import ErrorKind
from penstock.evidence.document import Counts, Paired
from penstock.evidence.halves import halved
from penstock.evidence.scales import DIFFERENCE_BINS, RATIO_HALVES, difference_bin, ratio_half
from penstock.postprocess import Judged
from penstock.tensors import Array
from penstock_transformer.evidence.compared import Room
from penstock_transformer.evidence.keys import KeySums, KeyWindow

if TYPE_CHECKING:
    from penstock_transformer.evidence.sums import Sums

CANCELLED: Final = ErrorKind.CANCELLED.value


class Half:
    """One side of a pair: a request's `rows`, and their `outputs` as of `Compared`, or the kind of the error. It takes its
    bytes of the `room` for as long as it is there."""

    __slots__ = ("call_s", "failure", "outputs", "room", "rows", "sums")

    def __init__(
        self, sums: "Sums", failure: str | None, call_s: float, rows: int, outputs: Array | None = None, room: Room | None = None
    ) -> None:
        self.sums = sums
        self.failure = failure
        self.call_s = call_s
        self.rows = rows
        self.outputs = outputs
        self.room = room if outputs is not None else None
        if self.room is not None and outputs is not None:
            self.room.nbytes += outputs.nbytes

    def __del__(self) -> None:
        # Not where pairs are counted: a half whose other side never comes ends nowhere else.
        if self.room is not None and self.outputs is not None:
            self.room.nbytes -= self.outputs.nbytes


class Pair:
    """What one request got, and what a shadow said to its copy. `into`: where it is counted; `key` and number of
    the `window`: by which the copy is counted; `first`: whether it is its key's first pair there, and so stands for it."""

    __slots__ = ("answer", "first", "into", "key", "shadow", "window")

    def __init__(self, into: "PairSums") -> None:
        self.into = into
        self.key: str | bytes | None = None
        self.window: int | None = None
        self.first = True
        self.answer: Half | None = None
        self.shadow: Half | None = None


class PairSums:
    """The sums of one shadow under one revision of the route. `keys`: which keys had a pair, and which failed, by the `Paired`'s
    name for how."""

    __slots__ = ("_all", "_first", "keys")

    def __init__(self, window: KeyWindow, *, anew: bool = False) -> None:
        self.keys = KeySums(window, anew=anew)
        self._all = _Tally()
        self._first = _Tally()

    def failed(self, pair: Pair) -> bool:
        """Count a pair of which a half, or both, failed; False if neither did.

        One of which a side was given up, because the caller had left, is no pair: what its version would have answered nobody
        knows, and no caller leaves a copy. A half that came too late is one that failed: both had the same time.
        """
        assert pair.answer is not None
        assert pair.shadow is not None
        answer, shadow, counts = pair.answer.failure, pair.shadow.failure, self._all.counts
        if CANCELLED in (answer, shadow):
            counts.left_out += 1
            return True
        if answer is None and shadow is None:
            pair.first = self._is_first(pair, None)
            return False
        counts.requests += 1
        if answer is None:
            counts.only_shadow_failed += 1
            self._is_first(pair, "only_shadow_failed")
        elif shadow is None:
            counts.only_answer_failed += 1
            self._is_first(pair, "only_answer_failed")
        else:
            counts.both_failed += 1
            self._is_first(pair, "both_failed")
        return True

    def compare(self, pairs: Sequence[Pair], answered: Judged, shadowed: Judged, spreads: Mapping[str, float]) -> None:
        """Count pairs that were both answered. `answered`, `shadowed`: the predictions of all their rows, one pair's after the
        other's, or nothing, for pairs that are compared by their latencies alone; `spreads`: the standard deviation that
        differences of a `value` are told in."""
        rows = [_rows(pair) for pair in pairs]
        starts = np.concatenate(([0], np.cumsum(rows)[:-1])).astype(np.intp)
        differing, distance = _differing(answered, shadowed), _distance(answered, shadowed, spreads)
        wrong = None if differing is None else np.logical_or.reduceat(differing, starts)
        apart = None if distance is None else np.maximum.reduceat(distance, starts)
        self._all.add(pairs, wrong, apart)
        first = [at for at, pair in enumerate(pairs) if pair.first]
        if first:
            mine = [pairs[at] for at in first]
            self._first.add(mine, None if wrong is None else wrong[first], None if apart is None else apart[first])

    def told(self) -> Paired:
        """As the document has it."""
        failed, told = self.keys.failed_keys, self._all.told()
        told.keys = replace(self._first.told(), requests=self.keys.keys, **failed) if self.keys.keys else None
        return told

    def _is_first(self, pair: Pair, failed: str | None) -> bool:
        if pair.key is not None:
            return self.keys.count(pair.key, failed, pair.window)
        self.keys.count_lone(failed)
        return True


class _Tally:
    """What pairs that were both answered came to, and what failed of all pairs in `counts`."""

    __slots__ = ("counts", "differences", "ratios")

    def __init__(self) -> None:
        self.counts = Paired()
        self.differences = [0] * DIFFERENCE_BINS
        self.ratios = [0] * RATIO_HALVES

    def add(self, pairs: Sequence[Pair], wrong: Array | None, apart: Array | None) -> None:
        """bool and float `[pairs]`: whose labels differ, and how far apart their scores are; None of models without."""
        if wrong is not None:
            differing = int(wrong.sum())
            self.counts.differing += differing
            self.counts.agreeing += len(pairs) - differing
        if apart is not None:
            for greatest in apart.tolist():
                self.differences[difference_bin(greatest)] += 1
        for pair in pairs:
            self._latencies(pair)
        self.counts.requests += len(pairs)

    def told(self) -> Paired:
        # A copy: who has read it must not see it change.
        ratios, upper, known = halved(self.ratios)
        return replace(
            self.counts,
            score_differences=sparse(self.differences),
            latency_ratios=ratios,
            ratios_upper=upper,
            ratios_halved=known,
        )

    def _latencies(self, pair: Pair) -> None:
        assert pair.answer is not None
        assert pair.shadow is not None
        answer_s, shadow_s = pair.answer.call_s, pair.shadow.call_s
        if answer_s > 0.0:
            self.ratios[ratio_half(shadow_s / answer_s)] += 1
        if shadow_s > answer_s:
            self.counts.slower += 1
        elif shadow_s < answer_s:
            self.counts.faster += 1


def sparse(counts: Sequence[int]) -> Counts:
    """Counts by bin as the document has them."""
    return [(number, count) for number, count in enumerate(counts) if count]


def comparable(pair: Pair) -> bool:
    """Whether both halves have the same rows."""
    assert pair.answer is not None
    assert pair.shadow is not None
    return pair.answer.rows == pair.shadow.rows > 0


def _rows(pair: Pair) -> int:
    assert pair.answer is not None
    return pair.answer.rows


def _differing(answered: Judged, shadowed: Judged) -> Array | None:
    """bool `[rows]`: where labels, or decisions, differ; None for models that have none in common."""
    for name, (names, codes) in answered.codes.items():
        if name in shadowed.codes:
            theirs, their_codes = shadowed.codes[name]
            places = {text: place for place, text in enumerate(names)}
            # -2 is nobody's code; the last entry is where the code of no label looks.
            table = np.array([*(places.get(text, -2) for text in theirs), -1])
            return np.asarray(table[their_codes] != codes)
    return None


def _distance(answered: Judged, shadowed: Judged, spreads: Mapping[str, float]) -> Array | None:
    """float `[rows]`: the greatest difference of any number that both tell; infinite where one of them tells none."""
    greatest: Array | None = None
    for name, values in answered.numbers.items():
        theirs = shadowed.numbers.get(name)
        if theirs is None:
            continue
        ours, theirs = values.astype(np.float64), theirs.astype(np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.abs(ours - theirs)
        apart[np.isnan(ours) & np.isnan(theirs)] = 0.0
        apart[np.isnan(apart)] = np.inf
        if name == "value":
            apart /= spreads.get(name) or 1.0
        greatest = apart if greatest is None else np.maximum(greatest, apart)
    return greatest
