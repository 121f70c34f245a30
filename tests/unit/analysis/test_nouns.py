"""What verdicts call that which they have counted."""

import pytest

from penstock.evidence.document import Bins, Entry, Histogram, Latency, Paired
from penstock_operator.analysis import Evidence, Trial, analyse
from penstock_operator.analysis.merged import stage_evidence
from penstock_operator.model_version import Rollout, Shadow

NEW, OLD = "sha256:new", "sha256:old"
BY_KEYS, A_PART = ", one of each route key in a minute", ", a part of all that came"
STEP = Trial(rollout=Rollout(), place=0, candidate="flights-8", baseline="flights-7")
SHADOW = Trial(rollout=Rollout(shadow=Shadow(0.2, 500)), place=0, candidate="flights-8", baseline="flights-7")


def _entry(bundle: str, keys: int, requests: int, *, unkeyed: int = 0, left: int = 0, shadow: bool = False) -> Entry:
    pairs = Paired(requests=keys, agreeing=keys, latency_ratios=[(80, keys)])
    return Entry(
        bundle,
        1,
        shadow,
        requests=requests,
        errors={"cancelled": left} if left else {},
        keys=keys,
        unkeyed=unkeyed,
        latency=Latency([(60, keys)], [(61, requests)], [(61, keys)], keys),
        outputs={"label": Histogram(Bins(values=("late",)), [requests, 0, 0], None, [keys, 0, 0])},
        paired=Paired(requests=requests, keys=pairs) if shadow else None,
    )


def _said(trial: Trial, candidate: Entry, baseline: Entry) -> dict[str, str]:
    """By test, what is said of numbers, first in words."""
    evidence: Evidence = stage_evidence(
        [candidate, baseline], candidate=NEW, baseline=OLD, revisions={1}, shadow=candidate.shadow
    )
    return {one.test: one.words for one in analyse(trial, evidence, {}).findings}


@pytest.mark.parametrize(
    ("counts", "suffix"),
    [
        ({"requests": 1000}, ""),
        ({"requests": 5000}, BY_KEYS),
        ({"requests": 5000, "unkeyed": 1500}, BY_KEYS),
        # Each request of its own key, of which one in two was looked at.
        ({"requests": 2000, "unkeyed": 1000}, A_PART),
        # Callers who left are no keys that came twice.
        ({"requests": 1030, "left": 30}, A_PART),
        ({"requests": 1005, "left": 5}, ""),
    ],
)
def test_a_number_of_requests_says_which_it_counts(counts: dict[str, int], suffix: str) -> None:
    said = _said(STEP, _entry(NEW, 1000, **counts), _entry(OLD, 9000, 9000))
    assert f"(0 of 1,000{suffix})" in said["errorRate"]
    assert f"(1,000 requests{suffix})" in said["latencyP99"]
    assert f"(1,000 against 9,000 requests{suffix})" in said["outputDrift"]
    assert _said(STEP, _entry(NEW, 9000, 9000), _entry(OLD, 1000, **counts))["latencyP99"].count(suffix or "requests)") > 0


def test_what_none_was_answered_of_says_which_it_counts() -> None:
    silent = [Entry(bundle, 1, requests=5000, keys=1000, failed_keys={"internal": 1000}) for bundle in (NEW, OLD)]
    assert _said(STEP, *silent)["latencyP99"] == f"none of 2,000 requests{BY_KEYS} was answered"


@pytest.mark.parametrize(
    ("counts", "suffix"), [({"requests": 1000}, ""), ({"requests": 3000}, BY_KEYS), ({"requests": 2000, "unkeyed": 1000}, A_PART)]
)
def test_so_does_a_number_of_copies(counts: dict[str, int], suffix: str) -> None:
    said = _said(SHADOW, _entry(NEW, 1000, shadow=True, **counts), _entry(OLD, 9000, 9000))
    assert f"(1,000 copied{suffix})" in said["latencyP99"]
    assert f"(0 of 1,000 copied{suffix})" in said["disagreement"]
    assert f"answered{suffix};" in said["errorRate"]
