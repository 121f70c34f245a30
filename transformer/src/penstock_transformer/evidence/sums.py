"""What requests did to one bundle under one revision of the route: the sums of one entry of the evidence.

    pipeline, once a batch --answered | failed--> Sums --(now and then)--> Entry
                                  \\--> Backlog: outputs, features, pairs are counted later

This is on the path of every request: one call a batch, a few additions a request, no arrays. Invariant: every request that the
route assigned is counted exactly once, by `PredictWork.counted`, under the revision that its batch began with; and of latency and
outputs once more if it is the first of its key in the window (`keys`), so that no caller is more than one of them.
"""

from collections.abc import Sequence
from random import randrange
from typing import Final

from penstock.columns import Column
from penstock.errors import ErrorKind
from penstock.evidence.callers import CallerSums
from penstock.evidence.document import Entry, EntryKey, Latency
from penstock.evidence.halves import halved
from penstock.evidence.scales import LATENCY_BINS, LATENCY_HALVES, latency_bin, latency_half
from penstock.postprocess import Postprocessor
from penstock.tensors import Array
from penstock_transformer.evidence.backlog import Backlog
from penstock_transformer.evidence.compared import Compared
from penstock_transformer.evidence.histograms import Counter
from penstock_transformer.evidence.keys import KeySums, KeyWindow
from penstock_transformer.evidence.pairs import CANCELLED, Half, Pair, PairSums, sparse
from penstock_transformer.work import PredictWork

LATE: Final = ErrorKind.DEADLINE_EXCEEDED.value
FEATURES_EVERY: Final = 32
"""Of so many batches the features of one are counted, drawn by chance, and of every second at least one: twenty columns cost
three times what all the rest does."""

_Ran = tuple[Sequence[int], dict[str, Array], float]
"""Of a batch that ran: where each work's rows begin, the outputs, and the seconds of the call."""


class Sums:
    """`outputs` and `features` are counted in fixed bins by name; `spreads` as of `PairSums.compare`; `anew` as of `KeySums`;
    `sticks`: whether keys stay with this bundle, and others with another."""

    __slots__ = (
        "_backlog",
        "_compared",
        "_features_due_s",
        "_until_features",
        "_window",
        "arm",
        "batches",
        "bundle",
        "call",
        "callers",
        "errors",
        "features",
        "first",
        "keys",
        "moved",
        "outputs",
        "paired",
        "postprocessor",
        "request",
        "requests",
        "revision",
        "rows",
        "shadow",
        "spreads",
        "version",
    )

    def __init__(
        self,
        key: EntryKey,
        version: str,
        postprocessor: Postprocessor,
        backlog: Backlog,
        window: KeyWindow,
        *,
        outputs: dict[str, Counter],
        features: dict[str, Counter],
        spreads: dict[str, float],
        anew: bool = False,
        sticks: bool = False,
    ) -> None:
        self.bundle, self.revision, self.shadow, self.arm = key
        self.version = version
        self.postprocessor = postprocessor
        self.requests = self.rows = self.moved = 0
        self.errors: dict[str, int] = {}
        self.callers = CallerSums() if sticks else None
        self.keys = KeySums(window, anew=anew, callers=self.callers)
        self.call = [0] * LATENCY_BINS
        self.request = [0] * LATENCY_BINS
        self.first = [0] * LATENCY_HALVES
        self.batches = 0
        self.outputs = outputs
        self.features = features
        self.spreads = spreads
        self.paired = PairSums(window, anew=anew) if self.shadow else None
        self._backlog = backlog
        self._compared = Compared(postprocessor, backlog.room)
        self._window = window
        self._until_features = 1
        self._features_due_s = 0.0

    def answered(
        self,
        works: Sequence[PredictWork],
        bounds: Sequence[int],
        times_s: tuple[float, float, float],
        outputs: dict[str, Array],
        columns: dict[str, Column] | None,
    ) -> None:
        """A batch of these works was run. `bounds`: where each one's rows of `outputs` begin; `times_s`: the moment, how long the
        batch took from its start, and its call; `columns`: the features, None for a bundle without."""
        now_s, took_s, call_s = times_s
        self.call[latency_bin(call_s)] += 1
        whole, ended, late, first, watched = self._count(works, now_s, (bounds, outputs, call_s))
        if ended:
            self._took(took_s, ended, late + len(first))
        if watched:
            assert self.callers is not None
            number = latency_bin(took_s)
            for _, mark in watched:
                self.callers.take(mark, number)
        if not whole:
            return
        if columns is not None and self.features:
            self._until_features -= 1
            if self._until_features <= 0 or now_s >= self._features_due_s:
                self._until_features = randrange(1, 2 * FEATURES_EVERY)
                self._features_due_s = now_s + 1.0
                self._backlog.features(self, {name: columns[name] for name in self.features if name in columns})
        if self.outputs:
            # A row each, and all of them first of their keys: every row is one, which is not worth a list.
            plain = len(first) == len(works) == bounds[-1]
            rows = None if plain else _one_row_each(first, bounds)
            marks = [(_row_of(at, bounds), mark) for at, mark in watched if bounds[at + 1] > bounds[at]]
            self._backlog.outputs(self, outputs, rows, marks)

    def failed(self, works: Sequence[PredictWork], now_s: float, took_s: float) -> None:
        """A batch of these works is over: count those that nobody has counted yet. Each was answered with an error, or has
        nobody who waits for it."""
        _, ended, late, _, _ = self._count(works, now_s, None)
        if ended:
            self._took(took_s, ended, late)

    def late_call(self, call_s: float) -> None:
        """A call of the predictor that its deadline ended."""
        self.call[latency_bin(call_s)] += 1

    def _count(
        self, works: Sequence[PredictWork], now_s: float, ran: _Ran | None
    ) -> tuple[bool, int, int, list[int], list[tuple[int, int]]]:
        """Count works; whether all of them were new, and how many of them have a latency: were answered, or late. Of those that
        are the first of their key: how many were late, and the places of those that were answered, and among them place and mark
        of those whose key is watched."""
        keys, window, callers = self.keys, self._window, self.callers
        if now_s >= window.end_s:
            window.begin(now_s)
        window.now_s = now_s
        requests = rows = lone = ended = late = 0
        first: list[int] = []
        watched: list[tuple[int, int]] = []
        paired, compared = False, None
        for at, work in enumerate(works):
            if work.counted:
                continue
            work.counted = True
            requests += 1
            rows += work.rows
            kind = work.failure if not work.waiting else CANCELLED
            key = work.sticky or work.context.route_key or work.request.record_id
            if kind is None:
                ended += 1
                if key is None:
                    lone += 1
                    first.append(at)
                elif keys.count(key, None, work.window):
                    first.append(at)
                    if callers is not None and callers.mark is not None:
                        watched.append((at, callers.mark))
            else:
                self.errors[kind] = self.errors.get(kind, 0) + 1
                if kind == CANCELLED:
                    # Nobody knows what it would have come to, and no caller leaves a copy.
                    is_first = False
                elif key is None:
                    keys.count_lone(kind)
                    is_first = True
                else:
                    is_first = keys.count(key, kind, work.window)
                if kind == LATE:
                    ended += 1
                    late += is_first
            if work.pairs is not None:
                if ran is not None and not paired:
                    paired, compared = True, self._compared.of(ran[1])
                self._settle(work.pairs, key, work.window, kind, at, ran, compared)
        self.requests += requests
        self.rows += rows
        keys.keys += lone
        return requests == len(works), ended, late, first, watched

    def _took(self, took_s: float, requests: int, first: int) -> None:
        """So many requests took so long in one batch, and so many of them were the first of their key."""
        half = latency_half(took_s)
        self.request[half >> 1] += requests
        if first:
            self.first[half] += first
            self.batches += 1

    def _settle(
        self,
        pairs: list[Pair],
        key: "str | bytes | None",
        window: int | None,
        kind: str | None,
        at: int,
        ran: _Ran | None,
        compared: Array | None,
    ) -> None:
        """This side of pairs is known. `compared`: what of the outputs its rows are kept of."""
        if ran is None:
            half = Half(self, kind or CANCELLED, 0.0, 0)
        else:
            bounds, _, call_s = ran
            start, stop = bounds[at], bounds[at + 1]
            kept = self._compared.rows(compared, start, stop) if compared is not None and kind is None else None
            half = Half(self, kind, call_s, stop - start, kept, self._compared.room)
        for pair in pairs:
            if self.shadow:
                pair.key, pair.window = key, window
                pair.shadow = half
            else:
                pair.answer = half
            if pair.shadow is not None and pair.answer is not None and not pair.into.failed(pair):
                self._backlog.pair(pair)

    @property
    def key(self) -> EntryKey:
        """What tells it from other sums."""
        return self.bundle, self.revision, self.shadow, self.arm

    @property
    def in_windows(self) -> Sequence[KeySums]:
        """What counts keys in the windows of the process."""
        return (self.keys,) if self.paired is None else (self.keys, self.paired.keys)

    def told(self, *, with_features: bool = True) -> Entry:
        """As the document has it; call the backlog's `flush` first."""
        first, upper, known = halved(self.first)
        return Entry(
            self.bundle,
            self.revision,
            self.shadow,
            self.version,
            requests=self.requests,
            rows=self.rows,
            errors=dict(self.errors),
            keys=self.keys.keys,
            failed_keys=dict(self.keys.failed_keys),
            unkeyed=self.keys.unkeyed,
            moved=self.moved,
            latency=Latency(sparse(self.call), sparse(self.request), first, self.batches, upper, known),
            outputs={name: counter.told() for name, counter in self.outputs.items()},
            features={name: counter.told() for name, counter in self.features.items()} if with_features else {},
            paired=self.paired.told() if self.paired is not None else None,
            arm=self.arm,
            callers=self.callers.told() if self.callers is not None else None,
        )


def _row_of(place: int, bounds: Sequence[int]) -> int:
    """A row of this work, which has one at least, drawn by chance."""
    start, stop = bounds[place], bounds[place + 1]
    return start if stop - start <= 1 else randrange(start, stop)


def _one_row_each(places: list[int], bounds: Sequence[int]) -> list[int]:
    """Of each of these works a row, drawn by chance: one that sends a thousand is one request."""
    return [_row_of(at, bounds) for at in places if bounds[at + 1] > bounds[at]]
