"""What requests did to one bundle under one revision of the route: the sums of one entry of the evidence.

    pipeline, once a batch --answered | failed--> Sums --(now and then)--> Entry
                                  \\--> Backlog: outputs, features, pairs are counted later

This is on the path of every request: one call a batch, a few additions a request, no arrays. Invariant: every request that the
route assigned is counted exactly once, by `PredictWork.counted`, under the revision that its batch began with.
"""

from collections.abc import Sequence
from random import randrange
from typing import Final

from penstock.columns import Column
from penstock.errors import ErrorKind
from penstock.evidence.document import Entry, EntryKey, Latency
from penstock.evidence.scales import LATENCY_BINS, latency_bin
from penstock.postprocess import Postprocessor
from penstock.tensors import Array
from penstock_transformer.evidence.backlog import Backlog
from penstock_transformer.evidence.histograms import Counter
from penstock_transformer.evidence.keys import KeyWindow
from penstock_transformer.evidence.pairs import Half, Pair, PairSums, sparse
from penstock_transformer.work import PredictWork

CANCELLED: Final = ErrorKind.CANCELLED.value
LATE: Final = ErrorKind.DEADLINE_EXCEEDED.value
FEATURES_EVERY: Final = 32
"""Of so many batches the features of one are counted, drawn by chance, and of every second at least one: twenty columns cost
three times what all the rest does."""


class Sums:
    """`outputs` and `features` are counted in fixed bins by name; `spreads` as of `PairSums.compare`."""

    __slots__ = (
        "_backlog",
        "_features_due_s",
        "_until_features",
        "arm",
        "bundle",
        "call",
        "errors",
        "features",
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
        *,
        outputs: dict[str, Counter],
        features: dict[str, Counter],
        spreads: dict[str, float],
    ) -> None:
        self.bundle, self.revision, self.shadow, self.arm = key
        self.version = version
        self.postprocessor = postprocessor
        self.requests = self.rows = self.moved = 0
        self.errors: dict[str, int] = {}
        self.keys = KeyWindow()
        self.call = [0] * LATENCY_BINS
        self.request = [0] * LATENCY_BINS
        self.outputs = outputs
        self.features = features
        self.spreads = spreads
        self.paired = PairSums() if self.shadow else None
        self._backlog = backlog
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
        whole, ended = self._count(works, now_s, (bounds, outputs, call_s))
        if ended:
            self.request[latency_bin(took_s)] += ended
        if not whole:
            return
        if columns is not None and self.features:
            self._until_features -= 1
            if self._until_features <= 0 or now_s >= self._features_due_s:
                self._until_features = randrange(1, 2 * FEATURES_EVERY)
                self._features_due_s = now_s + 1.0
                self._backlog.features(self, {name: columns[name] for name in self.features if name in columns})
        if self.outputs:
            self._backlog.outputs(self, outputs)

    def failed(self, works: Sequence[PredictWork], now_s: float, took_s: float) -> None:
        """A batch of these works is over: count those that nobody has counted yet. Each was answered with an error, or has
        nobody who waits for it."""
        _, ended = self._count(works, now_s, None)
        if ended:
            self.request[latency_bin(took_s)] += ended

    def late_call(self, call_s: float) -> None:
        """A call of the predictor that its deadline ended."""
        self.call[latency_bin(call_s)] += 1

    def _count(
        self, works: Sequence[PredictWork], now_s: float, ran: tuple[Sequence[int], dict[str, Array], float] | None
    ) -> tuple[bool, int]:
        """Count works; whether all of them were new, and how many of them have a latency: were answered, or late."""
        keys = self.keys
        if now_s >= keys.end_s:
            keys.begin(now_s)
        requests = rows = lone = ended = 0
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
                else:
                    keys.count(key, None)
            else:
                ended += kind == LATE
                self.errors[kind] = self.errors.get(kind, 0) + 1
                if key is None:
                    keys.count_lone(kind)
                else:
                    keys.count(key, kind)
            if work.pairs is not None:
                self._settle(work.pairs, kind, at, ran)
        self.requests += requests
        self.rows += rows
        keys.keys += lone
        return requests == len(works), ended

    def _settle(
        self, pairs: list[Pair], kind: str | None, at: int, ran: tuple[Sequence[int], dict[str, Array], float] | None
    ) -> None:
        """This side of pairs is known."""
        if ran is None:
            half = Half(self, kind or CANCELLED, {}, 0, 0, 0.0)
        else:
            bounds, outputs, call_s = ran
            half = Half(self, kind, outputs, bounds[at], bounds[at + 1], call_s)
        for pair in pairs:
            if self.shadow:
                pair.shadow = half
            else:
                pair.answer = half
            if pair.shadow is not None and pair.answer is not None and not pair.into.failed(pair):
                self._backlog.pair(pair)

    @property
    def key(self) -> EntryKey:
        """What tells it from other sums."""
        return self.bundle, self.revision, self.shadow, self.arm

    def told(self, *, with_features: bool = True) -> Entry:
        """As the document has it; call the backlog's `flush` first."""
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
            latency=Latency(sparse(self.call), sparse(self.request)),
            outputs={name: counter.told() for name, counter in self.outputs.items()},
            features={name: counter.told() for name, counter in self.features.items()} if with_features else {},
            paired=self.paired.told() if self.paired is not None else None,
            arm=self.arm,
        )
