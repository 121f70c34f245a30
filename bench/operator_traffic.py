"""What the transformers of bench/operator_rollouts.py have counted: requests by the route's weights, never enough to decide.

The candidate fails by exactly the margin more often than the version before it: neither harm nor harmlessness is ever
established, while answers and latencies are alike. So every look is a whole analysis, for as long as one likes.
"""

import time
from typing import Any

import msgspec

from penstock.evidence.document import Bins, Entry, Evidence, Histogram, Latency, Process, Training
from penstock_operator.model_version import Margins

RATE = 100.0
"""Requests a second of each transformer pod."""
_FAILING, _MARGIN = 0.002, Margins().error_rate
_EDGES = Bins(edges=tuple(round(place / 20, 2) for place in range(21)))
_SHARES = (0.0, *(1 / 20 for _ in range(20)), 0.0, 0.0, 0.0)
_TRAINING = Training(_EDGES, tuple(round(1000 * share) for share in _SHARES))
_LABELS = Bins(values=("late", "on time"))
# 36 bins of latency that hold anything, a long tail upwards.
_LATENCY = tuple((20 + place, 0.2 * 0.8**place) for place in range(36))
_FEATURES = 20
_GROWN_S = 3600.0


class Traffic:
    """Of all models. Counts only rise, as a transformer's do."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        # By model: revision, the share of requests of each bundle, and from when to when.
        self._spans: dict[str, list[tuple[int, dict[str, float], float, float]]] = {}

    def routed(self, model: str, route: dict[str, Any]) -> None:
        """A model's transformers apply this route from now on."""
        spans, now = self._spans.setdefault(model, []), time.monotonic()
        if spans and spans[-1][0] == route["revision"]:
            return
        if spans:
            spans[-1] = (*spans[-1][:3], now)
        shares = {one["digest"]: one.get("weight", 0) / 100 for one in route["bundles"]}
        spans.append((route["revision"], shares, now, float("inf")))

    def told(self, model: str, pod: str, route: dict[str, Any], *, with_features: bool) -> bytes:
        """The answer of a pod to GET /evidence, with what it says of its route."""
        now = time.monotonic()
        entries = [
            _entry(digest, revision, int(RATE * share * (min(now, until) - since)), with_features=with_features)
            for revision, shares, since, until in self._spans.get(model, [])[-9:]
            for digest, share in shares.items()
            if share
        ]
        processes = [Process(pod, _GROWN_S + now - self._began, entries)]
        return msgspec.json.encode(Evidence(model, processes, route=route))


def _entry(digest: str, revision: int, count: int, *, with_features: bool) -> Entry:
    failing = _FAILING + (_MARGIN if digest == "sha256:" + "2" * 64 else 0.0)
    failed = {"internal": round(count * failing)} if count * failing >= 1 else {}
    latency = [(number, n) for number, share in _LATENCY if (n := int(count * share))]
    upper = [(number, n // 2) for number, n in latency if n > 1]
    total = sum(n for _, n in latency)
    labels = [count // 5, count - count // 5, 0, 0]
    scores = _histogram(count)
    outputs = {
        "label": Histogram(_LABELS, labels, keys=labels),
        "scores.late": Histogram(scores.bins, scores.counts, scores.training, scores.counts),
    }
    features = {f"feature{number}": _histogram(count) for number in range(_FEATURES)} if with_features else {}
    return Entry(
        digest,
        revision,
        version=digest[-1],
        requests=count,
        rows=count,
        errors=failed,
        keys=count,
        failed_keys=failed,
        latency=Latency(latency, latency, latency, total, upper, total),
        outputs=outputs,
        features=features,
    )


def _histogram(count: int) -> Histogram:
    return Histogram(_EDGES, [int(count * share) for share in _SHARES], _TRAINING)
