"""Logged rows against what training of their bundle looked like: the values of features and outputs, taken out of the log.

    LogRow --Live.add--> Tally a feature, Tally an output --distances--> Finding, …

A feature's value is the row's own, else the record's, else what its set brought; too old is missing, as for the encoder. Points
in time are left out: they are never those of training.

Invariant: only what the bundle's profile has is counted.
"""

from collections.abc import Iterator
from typing import Any

from penstock.bundle.profile import PROFILE
from penstock.bundle.reading import Bundle
from penstock.evidence.profiles import read_profile
from penstock.features.spec import Feature, FeatureSpec
from penstock_transformer.feedback.document import Fetched
from penstock_transformer.feedback.row import LogRow
from penstock_transformer.feedback.trigger.bounds import Drift, Watch
from penstock_transformer.feedback.trigger.drift import Tally
from penstock_transformer.feedback.trigger.look import ALPHA, FEATURE, OUTPUT, Finding, judge_drift

_POINT_IN_TIME = "timestamp"


class Live:
    """One bundle's live values."""

    def __init__(self, bundle: Bundle, drift: Drift) -> None:
        profile = read_profile(bundle.files.get(PROFILE, b""))
        self._spec: FeatureSpec | None = bundle.features
        self._features: list[tuple[Feature, Tally]] = []
        if drift.features is not None and self._spec is not None:
            self._features = [
                (feature, Tally(profile.features[feature.name]))
                for feature in self._spec.features
                if feature.name in profile.features and feature.name not in drift.ignore and feature.type != _POINT_IN_TIME
            ]
        outputs = {} if drift.outputs is None else profile.outputs
        self._outputs = {name: Tally(training) for name, training in outputs.items() if name not in drift.ignore}

    def add(self, row: LogRow) -> None:
        """A row that this bundle answered."""
        weight = 1.0 / row.chance
        if self._features and self._spec is not None:
            sent, stored = row.sent(), row.stored()
            for feature, tally in self._features:
                tally.add(value_of(feature, self._spec, sent, stored, row.clock), weight)
        if self._outputs:
            answer = row.answered()
            scores = answer.get("scores") or {}
            for name, tally in self._outputs.items():
                label = name.removeprefix("scores.")
                tally.add(scores.get(label) if label != name else answer.get(name), weight)

    def findings(self, watch: Watch) -> Iterator[Finding]:
        """Each distance beside its bound."""
        alpha = ALPHA / max(1, len(self._features) + len(self._outputs))
        named = [(FEATURE, feature.name, tally, watch.drift.features) for feature, tally in self._features]
        named += [(OUTPUT, name, tally, watch.drift.outputs) for name, tally in self._outputs.items()]
        for kind, name, tally, bound in named:
            found = tally.distance(alpha)
            if found is not None and bound is not None:
                yield judge_drift(kind, name, found, bound)


def value_of(feature: Feature, spec: FeatureSpec, sent: dict[str, Any], stored: dict[str, Fetched], clock_s: float) -> Any:
    """A feature's raw value as the log has it, None for one that is missing or too old. `sent`, `stored`: as a row has them."""
    if feature.set is None:
        own = sent.get(feature.column)
        if own is not None or spec.record is None:
            return own
        name = spec.record.set
    else:
        name = feature.set
    fetched = stored.get(name)
    if fetched is None or fetched.time is None:
        return None
    limit = feature.max_age_s if feature.max_age_s is not None else spec.sets[name].max_age_s
    return None if limit is not None and clock_s - fetched.time > limit else fetched.values.get(feature.column)
