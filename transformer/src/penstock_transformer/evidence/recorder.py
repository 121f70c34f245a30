"""The evidence of one process: the sums of every bundle that its route holds or has held, and what is told of them.

    RouteTable.apply --apply--> Recorder: sums for each bundle of the route --`live`, `shadows`--> pipeline
    admin port, Prometheus <--evidence-- Recorder

Invariant: sums are made once for a bundle, revision, mode and arm, in bins fixed then, and only grow as long as they are kept.
Kept are those of the route of the moment and the last `MOST_ENTRIES` of the routes before it, of which each has one or more:
memory has a bound however many routes come. What those that go had counted is added up by bundle, mode and arm (`dropped`), as
long as any sums of the bundle are kept: Prometheus takes a counter that falls for one that began anew.
"""

import secrets
import time
from collections.abc import Callable
from typing import Final

from msgspec import structs

from penstock.evidence.adding import added
from penstock.evidence.document import Bins, Entry, EntryKey, Evidence, Process, Training
from penstock.evidence.profiles import common
from penstock_transformer.active import ActiveBundle
from penstock_transformer.evidence.backlog import Backlog
from penstock_transformer.evidence.histograms import Counter
from penstock_transformer.evidence.keys import KeyWindow
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.routing import Route

MOST_ENTRIES: Final = 8
MOST_OUTPUTS: Final = 32
"""Outputs of a model that are counted: labels, values, and the scores of as many labels."""
MOST_FEATURES: Final = 256
_TWENTIETHS = tuple(round(n / 20, 2) for n in range(21))

Tallies = dict[ActiveBundle, Sums]


class Recorder:
    """`live` and `shadows`: the sums of the route's bundles in either mode; swapped whole with the route, so that a batch keeps
    those that it began with. `incarnation` tells this process from every other; `labels`: the names of the bundles, by digest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.incarnation = secrets.token_hex(8)
        self.live: Tallies = {}
        self.shadows: Tallies = {}
        self.backlog = Backlog()
        self.window = KeyWindow()
        self._clock = clock
        self._began = clock()
        self.labels: dict[str, str] = {}
        self._kept: dict[EntryKey, Sums] = {}
        self._dropped: dict[tuple[str, bool, str], Entry] = {}

    def apply(self, route: Route) -> None:
        """Count by this route from now on."""
        self.backlog.flush()
        live = {target.bundle: self._sums(route, target.bundle, arm=target.arm) for target in route.live}
        shadows = {target.bundle: self._sums(route, target.bundle, shadow=True) for target in route.shadows}
        together = [*live.values(), *shadows.values()]
        self.window.keep([keys for sums in together for keys in sums.in_windows])
        used = {sums.key for sums in together}
        for key in [key for key in self._kept if key not in used][: max(0, len(self._kept) - len(used) - MOST_ENTRIES)]:
            self._drop(self._kept.pop(key))
        self.labels = {sums.bundle: self.labels.get(sums.bundle, sums.bundle) for sums in self._kept.values()}
        self.labels |= {sums.bundle: bundle.label for tally in (live, shadows) for bundle, sums in tally.items()}
        self._dropped = {place: entry for place, entry in self._dropped.items() if entry.bundle in self.labels}
        self.live, self.shadows = live, shadows

    def evidence(self, model: str, *, with_features: bool = True) -> Evidence:
        """All of it, as of now, or without the histograms of features."""
        entries = self.entries(with_features=with_features)
        return Evidence(model, [Process(self.incarnation, round(self._clock() - self._began, 3), entries)])

    def entries(self, *, with_features: bool = True) -> list[Entry]:
        """One for each bundle, revision, mode and arm, in the order they came."""
        self.backlog.flush()
        return [sums.told(with_features=with_features) for sums in self._kept.values()]

    def dropped(self) -> list[Entry]:
        """What is no longer in `entries` of bundles that are: one for each bundle, mode and arm, of all revisions. Without
        outputs and features, whose bins were those of their route, and callers."""
        return list(self._dropped.values())

    def _drop(self, sums: Sums) -> None:
        entry = structs.replace(sums.told(with_features=False), outputs={}, callers=None)
        place = entry.bundle, entry.shadow, entry.arm
        before = self._dropped.get(place)
        self._dropped[place] = entry if before is None else added([entry, before])

    def _sums(self, route: Route, bundle: ActiveBundle, *, shadow: bool = False, arm: str = "") -> Sums:
        key = (bundle.digest or bundle.identity or bundle.label, route.revision, shadow, arm)
        # Put behind the others: the first are dropped first.
        sums = self._kept.pop(key, None)
        if sums is None:
            answering = [target.bundle for target in route.live if target.weight > 0]
            shared = len({other.identity for other in answering}) > 1
            # Who is compared with nobody has no say in the bins: a version that is kept for a roll-back goes in mid-step. A route
            # that no file names has no candidate, and its bundles come and go.
            compared = [*answering, *(target.bundle for target in route.shadows)] if route.revision else []
            together = [bundle, *(other for other in compared if other is not bundle)]
            profile = bundle.profile
            sums = Sums(
                key,
                bundle.version,
                bundle.postprocessor,
                self.backlog,
                self.window,
                outputs=_counters(_output_bins, profile.outputs, together, MOST_OUTPUTS),
                features=_counters(_feature_bins, profile.features, together, MOST_FEATURES),
                spreads=profile.spreads,
                # One answers everything, and whose copies a shadow gets is drawn anew in each window.
                anew=bool(route.shadows) and not shared,
                sticks=shared and not shadow,
            )
        self._kept[key] = sums
        return sums


def _counters(
    bins: Callable[[ActiveBundle], dict[str, Bins]], mine: dict[str, Training], together: list[ActiveBundle], most: int
) -> dict[str, Counter]:
    """Counters of the first bundle's values, in bins that those of one name are counted in for all of these bundles."""
    several = [bins(bundle) for bundle in together]
    found: dict[str, Counter] = {}
    for name in list(several[0])[:most]:
        shared = common(each[name] for each in several if name in each)
        if shared is not None:
            found[name] = Counter(shared, mine.get(name))
    return found


def _feature_bins(bundle: ActiveBundle) -> dict[str, Bins]:
    return {name: training.bins for name, training in bundle.profile.features.items()}


def _output_bins(bundle: ActiveBundle) -> dict[str, Bins]:
    """By the profile; for what it does not have, labels by name and scores by twentieths of 1."""
    spec = bundle.manifest.postprocess
    found: dict[str, Bins] = {}
    if spec.kind in ("classification", "boolean") and spec.labels:
        found["label"] = Bins(values=tuple(sorted(spec.labels)))
    if spec.kind == "classification":
        found |= {f"scores.{label}": Bins(edges=_TWENTIETHS) for label in spec.labels}
    return found | {name: training.bins for name, training in bundle.profile.outputs.items()}
