"""Why a version went live, in words that stay in its status for as long as it is.

    last look of a trial --live_by_evidence--> status.message, and status.evidence.live --kept_reason--> status.message again

A live version whose pods are away says that; when they are back it says again why it is live. Invariant: the words are of the
moment in `liveSince`. A version that went live by another strategy has none.
"""

from collections.abc import Mapping
from typing import Any

from penstock_operator.analysis.alpha import ERROR_RATE
from penstock_operator.analysis.decision import OPEN
from penstock_operator.analysis.nouns import none_found, not_compared
from penstock_operator.analysis.words import several
from penstock_operator.judgement import verdicts_of
from penstock_operator.model_version import PROMOTE, ModelVersion


def live_by_evidence(said: str, verdicts: Mapping[str, Any], since: str) -> tuple[str, dict[str, Any]]:
    """What a version says that goes live by its trial, and what its status keeps of it. `said`: what was decided; `since`: its
    `liveSince`."""
    analysis = verdicts.get("analysis") or {}
    tests = analysis.get("tests") or {}
    requests = int((analysis.get("candidate") or {}).get("requests") or 0)
    numbers = (tests.get(ERROR_RATE) or {}).get("says") or ""
    text = f"after {several(requests, 'request')} at 100 %: {said}"
    if numbers:
        text += f" {numbers[:1].upper()}{numbers[1:]}."
    undecided = analysis.get(OPEN) or ()
    text += none_found([test for test in tests if test not in undecided]) + not_compared(tests)
    return _kept(text, verdicts, since)


def live_by_hand(version: ModelVersion, since: str) -> tuple[str, dict[str, Any]]:
    """What a version says that goes live because somebody has promoted it, and what its status keeps."""
    return _kept(
        f"promoted by its annotation {PROMOTE}, whatever the evidence said.", verdicts_of(version.status.evidence), since
    )


def live_again(version: ModelVersion, since: str) -> tuple[str, dict[str, Any]]:
    """What a version says that was kept, and answers once more."""
    return _kept("it answers again, for the version after it was taken out.", version.status.evidence, since)


def kept_reason(version: ModelVersion) -> str:
    """What a live version goes on saying; empty for one that has nothing to say of this time."""
    text = version.status.evidence.get("live")
    since = version.status.live_since
    return text if isinstance(text, str) and since and text.startswith(_beginning(since)) else ""


def _kept(text: str, evidence: Mapping[str, Any], since: str) -> tuple[str, dict[str, Any]]:
    said = f"{_beginning(since)}{text}"[:1024]
    return said, {**evidence, "live": said}


def _beginning(moment: str) -> str:
    return f"Live since {moment}: "
