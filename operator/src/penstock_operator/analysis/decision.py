"""All tests of one look together: what the rollout does, and the sentence that says why.

any harmful -> roll back     all harmless (and enough copies, for a shadow) -> advance     time is up -> what the user chose

The test by outcomes is of the first kind only: undecided, or without any outcome, it holds up no step.

So is that of a shadow's latency. Copies are called otherwise than requests (`shadow`), so that an equally fast version may look
near the margin for as long as it is one, and need not be shown to be harmless there: the first step does that, of requests. What
is asked is whether harm shows; a shadow waits while it looks slower than the margin, and until there are pairs enough that so
much as a version which is slower on all of them would have shown it.

At 100 % there is nothing left to advance to: what is asked is only whether harm shows, and whether so much as a version that
fails everything would have shown. The baseline is then a shadow of the candidate, which gets copies of a part of the requests:
all tests hold, but its pods have little to do, and any version is slower under load. So latency is harmful there only if it is so
beside the copies, which were answered in the same moments, and beside the baseline as it was when it had most of the requests
itself (`Evidence.loaded`); and if it lasts (`lasting`). While it may be going to, the version is not live.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from penstock_operator.analysis.alpha import ERROR_RATE, LATENCY, QUALITY, harm_threshold, harmless_threshold
from penstock_operator.analysis.arms import Evidence
from penstock_operator.analysis.callers import few_callers
from penstock_operator.analysis.error_rate import measure_error_rate, would_tell
from penstock_operator.analysis.finding import Finding, Measured, Verdict, judge
from penstock_operator.analysis.lasting import Blocks, measure_lasting
from penstock_operator.analysis.latency import measure_latency
from penstock_operator.analysis.nouns import METRICS, none_found, not_compared, noun
from penstock_operator.analysis.outputs import drift, measure_outputs
from penstock_operator.analysis.quality import measure_quality
from penstock_operator.analysis.shadow import (
    latency_would_tell,
    looks_slower,
    measure_disagreement,
    measure_paired_errors,
    measure_paired_latency,
)
from penstock_operator.analysis.trial import Trial
from penstock_operator.analysis.words import listed, several
from penstock_operator.warmth import WARM_S

BLOCKS_KEPT = "blocks"
"""Of a document: what only a trial that goes on needs."""
OPEN = "open"
"""Of a document: tests that may yet find harm which lasts, so that nobody says that there is none. Left out if there are none."""


class Move(StrEnum):
    """What a rollout does next."""

    ADVANCE = "advance"
    ROLL_BACK = "roll back"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Analysis:
    """One look. `sentence` for status.message; `alerts` tell of drift from training and decide nothing;
    `document` for status.evidence, and for the next look as `remembered`."""

    move: Move
    sentence: str
    findings: tuple[Finding, ...]
    alerts: tuple[str, ...]
    document: dict[str, Any]

    def finding(self, test: str) -> Finding | None:
        return next((one for one in self.findings if one.test == test), None)


def analyse(trial: Trial, evidence: Evidence, remembered: Mapping[str, Any], *, tell_all: bool = True) -> Analysis:
    """What the counts of a stage, as they stand, say. `remembered` of another stage, or unreadable, counts as none. Not
    `tell_all`: only harm is put in words, whose bounds cost many times what the verdicts do; the verdicts are the same, and there
    are no alerts."""
    before = _remembered(trial, remembered)
    blocks = _blocks(trial, remembered).after(trial, evidence) if trial.stage.weight >= 100 else None
    findings = tuple(
        judge(
            measured,
            before.get(measured.test, (0.0, 0.0)),
            harm_threshold(trial, measured.test),
            harmless_threshold(trial),
            tell_all=tell_all,
        )
        for measured in _measure(trial, evidence, blocks)
    )
    move, sentence = _decide(trial, evidence, findings, blocks)
    document = _document(trial, evidence, findings)
    if blocks is not None:
        document[BLOCKS_KEPT] = msgspec.to_builtins(blocks)
        if blocks.is_open(trial):
            document[OPEN] = [LATENCY]
    return Analysis(move, sentence, findings, drift(trial, evidence) if tell_all else (), document)


def _measure(trial: Trial, evidence: Evidence, blocks: Blocks | None) -> Iterator[Measured]:
    """The tests of this stage that have something to go by. A shadow is compared pair by pair, a step arm by arm."""
    pairs = evidence.pairs if trial.stage.shadow else None
    found: list[Measured | None]
    if pairs is not None:
        found = [measure_paired_errors(trial, pairs), measure_disagreement(trial, pairs)]
    else:
        found = [measure_error_rate(trial, evidence)]
    found += [_latency(trial, evidence, blocks), measure_outputs(trial, evidence), measure_quality(trial, evidence.quality)]
    return (one for one in found if one is not None)


def _latency(trial: Trial, evidence: Evidence, blocks: Blocks | None) -> Measured | None:
    """Pair by pair, arm by arm or block by block, as the stage has it."""
    pairs = evidence.pairs if trial.stage.shadow else None
    counted = pairs.ratios if pairs is not None else evidence.candidate.latency
    if evidence.cold and not counted:
        said = f"the latency of {trial.candidate} is not looked at before its pods have answered for {WARM_S:g} s"
        return Measured(LATENCY, 0.0, lambda: 0.0, lambda _: said)
    if pairs is not None:
        return measure_paired_latency(trial, pairs)
    return measure_latency(trial, evidence) if blocks is None else measure_lasting(trial, evidence, blocks)


def _decide(trial: Trial, evidence: Evidence, findings: tuple[Finding, ...], blocks: Blocks | None) -> tuple[Move, str]:
    harmful = [one for one in findings if one.verdict is Verdict.HARMFUL]
    if harmful:
        worst = max(harmful, key=lambda one: one.harm - one.needed_harm)
        return Move.ROLL_BACK, f"Rolled back: {worst.words}."
    if blocks is not None:
        why = _unseen(trial, evidence, findings) or blocks.unseen(trial, evidence)
        if why:
            return _wait(trial, why)
        not_compared = blocks.not_compared(trial, evidence)
        if not_compared:
            return Move.ADVANCE, f"{trial.candidate} answers everything. {not_compared} No other harm over the margins was found."
        return Move.ADVANCE, f"{trial.candidate} answers everything, and no harm over the margins was found."
    # Outcomes may never come, and copies are not called as requests are: they take a version back, and hold none up.
    only_harm = {QUALITY, LATENCY} if trial.stage.shadow else {QUALITY}
    waiting = [one for one in findings if one.verdict is Verdict.UNDECIDED and one.test not in only_harm]
    missing = _copies_missing(trial, evidence, findings)
    if not waiting and not missing:
        return Move.ADVANCE, _no_worse(trial, findings)
    slowest = min(waiting, key=lambda one: one.harmless, default=None)
    return _wait(trial, missing if slowest is None else f"{slowest.words}{few_callers(evidence)}")


def _no_worse(trial: Trial, findings: tuple[Finding, ...]) -> str:
    """Why it goes on: the numbers of the first test, and of the others which have shown that there is no harm, which none yet."""
    kept = [METRICS[one.test] for one in findings[1:] if one.verdict is Verdict.HARMLESS]
    text = f"No worse than {trial.baseline} at {trial.stage.name}: {findings[0].words}."
    if kept:
        text += f" Nor is it worse by more than its margins in {listed(kept, 'or')}."
    text += none_found([one.test for one in findings[1:] if one.verdict is not Verdict.HARMLESS])
    return text + not_compared([one.test for one in findings])


def _unseen(trial: Trial, evidence: Evidence, findings: tuple[Finding, ...]) -> str:
    """Why harm that comes only with all requests might not have shown yet: callers went, transformers were replaced a minute ago,
    or nothing is answered at all. Empty if it would have."""
    candidate, baseline = evidence.candidate, evidence.baseline
    called = noun(candidate, baseline)
    if candidate.failed >= candidate.units:
        return f"{trial.candidate} has answered none of {several(candidate.units, called)} so far"
    harmless = any(one.test == ERROR_RATE and one.verdict is Verdict.HARMLESS for one in findings)
    if harmless or would_tell(trial, evidence):
        return ""
    return (
        f"{several(candidate.units, called)} to {trial.candidate} and {several(baseline.units, called)} to {trial.baseline}"
        " are too few to tell even a version that fails all of them"
    )


def _copies_missing(trial: Trial, evidence: Evidence, findings: tuple[Finding, ...]) -> str:
    """What a shadow still lacks of what would show harm; empty if nothing, or of a step."""
    shadow, pairs = trial.rollout.shadow, evidence.pairs
    if not trial.stage.shadow or shadow is None or pairs is None:
        return ""
    if pairs.requests < shadow.min_requests:
        return f"{several(pairs.requests, 'request')} copied of the {shadow.min_requests:,} that shadow.minRequests asks for"
    if pairs.ratios and not looks_slower(trial, pairs):
        if latency_would_tell(trial, pairs):
            return ""
        counted = several(sum(pairs.ratios.values()), "copied request")
        return f"the latencies of {counted} are too few to tell even a version that takes longer for all of them"
    return next((one.words for one in findings if one.test == LATENCY), "") or "its latency is not known"


def _wait(trial: Trial, why: str) -> tuple[Move, str]:
    """Until it is decided, or time is up: then what the user chose."""
    if not trial.time_is_up:
        return Move.WAIT, f"Undecided at {trial.stage.name}: {why}."
    rollout = trial.rollout
    text = f"{rollout.max_duration} were not enough to decide at {trial.stage.name}: {why}"
    if rollout.on_insufficient_traffic == "promote":
        return Move.ADVANCE, f"Goes on undecided, as onInsufficientTraffic says: {text}."
    if rollout.on_insufficient_traffic == "rollBack":
        return Move.ROLL_BACK, f"Rolled back undecided, as onInsufficientTraffic says: {text}."
    return Move.WAIT, f"Waits on, as onInsufficientTraffic says: {text}."


def _document(trial: Trial, evidence: Evidence, findings: tuple[Finding, ...]) -> dict[str, Any]:
    """JSON; e-values as logs with three digits, rounded down so that no rounding decides."""
    tests = {
        one.test: {
            "verdict": one.verdict.value,
            "harm": _rounded(one.harm),
            "harmless": _rounded(one.harmless),
            "says": one.words,
        }
        for one in findings
    }
    arms = {
        name: {"units": arm.units, "failed": arm.failed, "requests": arm.requests}
        for name, arm in (("candidate", evidence.candidate), ("baseline", evidence.baseline))
    }
    return {"stage": _stage_key(trial), "tests": tests, **arms}


def _rounded(value: float) -> float:
    return int(max(min(value, 1e6), -1e6) * 1000) / 1000


def _stage_key(trial: Trial) -> str:
    return f"{trial.place}/{trial.stage.name}"


def _blocks(trial: Trial, document: Mapping[str, Any]) -> Blocks:
    kept = document.get(BLOCKS_KEPT)
    if document.get("stage") != _stage_key(trial) or kept is None:
        return Blocks()
    try:
        return msgspec.convert(kept, Blocks)
    except msgspec.ValidationError:
        return Blocks()


def _remembered(trial: Trial, document: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    tests = document.get("tests")
    if document.get("stage") != _stage_key(trial) or not isinstance(tests, dict):
        return {}
    found = {}
    for name, test in tests.items():
        if isinstance(test, dict):
            harm, harmless = test.get("harm"), test.get("harmless")
            if isinstance(harm, int | float) and isinstance(harmless, int | float):
                found[name] = (float(harm), float(harmless))
    return found
