"""Made evidence: entries of one bundle with counts that only grow."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock.evidence.document import Bins, Entry, Evidence, Histogram, Latency, Paired, Process, Training

DIGEST = "sha256:" + "ab" * 32


def make_entry(requests: int = 0, *, failed: int = 0, bundle: str = DIGEST, revision: int = 1, shadow: bool = False) -> Entry:
    """An entry whose every count follows from how many requests there were."""
    bins = Bins(edges=(0.0, 0.5, 1.0))
    return Entry(
        bundle,
        revision,
        shadow,
        "7",
        requests=requests,
        rows=2 * requests,
        errors={"internal": failed} if failed else {},
        keys=requests,
        failed_keys={"internal": failed} if failed else {},
        latency=Latency([(10, requests)] if requests else [], [(12, requests)] if requests else []),
        outputs={"scores.late": Histogram(bins, [0, requests, requests, 0, 0, 0], Training(bins, (0, 5, 5, 0, 0, 0)))},
        features={"distance": Histogram(bins, [0, requests, 0, 0, 0, 0])},
        paired=Paired(requests=requests, agreeing=requests, score_differences=[(0, requests)] if requests else [])
        if shadow
        else None,
    )


@pytest.fixture
def entry() -> Callable[..., Entry]:
    return make_entry


@pytest.fixture
def pod() -> Callable[..., Evidence]:
    def make(incarnation: str, *entries: Entry, age_s: float = 600.0) -> Evidence:
        return Evidence("flights", [Process(incarnation, age_s, list(entries))])

    return make


@pytest.fixture
def digest() -> Any:
    return DIGEST
