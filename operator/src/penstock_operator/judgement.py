"""One look at what requests did to a version on trial: what is remembered, what came since, and what that says of its next step.

    status.evidence + what pods tell of both bundles --judge--> Judgement(analysis, evidence for the next status)

A stage's counts are those of the revisions of the route since it began: every step is a revision of its own. When all requests go
to the version, the one before it is its shadow, so that there still is something to compare it with.

Time is added up from look to look, never read as the distance of two moments that two operators may have written: their clocks
may be apart, and no verdict may come of that.

Invariant: what is remembered and what follows from it are one write of the status, so nothing is counted twice or lost with the
operator; a pod that tells nothing is added up the next time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from penstock.evidence.adding import merged
from penstock.evidence.ledger import Ledger
from penstock_operator.analysis import Analysis, Evidence, Move, Trial, analyse
from penstock_operator.analysis.decision import BLOCKS_KEPT
from penstock_operator.analysis.loaded import read_loaded
from penstock_operator.analysis.merged import stage_evidence
from penstock_operator.analysis.outcomes import strata
from penstock_operator.analysis.traffic import NOTHING, Traffic, came_between
from penstock_operator.baseline import ARM, baseline_name, before_it, is_compared
from penstock_operator.clock import read_moment
from penstock_operator.ledger_text import read_ledger
from penstock_operator.model_version import ModelVersion
from penstock_operator.roles import stage_of
from penstock_operator.seen import Seen
from penstock_operator.stage import Stage
from penstock_operator.warmth import Warmth, without_latency

LOOK_S = 6.0
"""Pods are asked this often in the first minutes of a stage, when most is decided."""
_LOOKS_PER_AGE, _LONGEST_S = 20.0, 30.0
"""Later a look comes when a twentieth has been added to the stage's age, half a minute at most: less changes no verdict."""
BESIDE = 0.2
"""The part of requests that is copied to the version before while all of them go to the one on trial."""
_BEFORE = 2
"""Revisions of the route just before a trial's first: in the one the candidate joined, in the other it was not there yet. The
version before had all requests in both."""
FULL_S = 60.0
"""With all requests the evidence of a step is there in seconds; faults that come only with them may take longer to show."""
TELL_S = 30.0
"""Words about a version that waits are renewed this often: the bounds in them cost many times the verdicts."""
AWAY_S = 45.0
"""What counts of the time between two looks, at most: a trial that was paused, or had no operator, has not used up its time, and
a clock that is an hour ahead of the last operator's makes no hour."""
_STAGES = 32
"""Whose load is remembered, the last ones: more than a rollout should have. Of one that began earlier no load is known."""
_ON_TRIAL = frozenset({Stage.SHADOW, Stage.CANARY, Stage.PROMOTING})


class Memory(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a status keeps under `evidence`. `place`: the stage's number in the trial, `since` its moment, `baseline` the digest
    that it is compared with, `arm` its arm of the route; `revision`: the route's first of the stage, `first` of the trial.
    `looked` and `told` in words: the last time, in s since 1970; `spent_s`: how long the trial has been under way, `here_s` how
    long the version on trial has been seen to get requests in this stage, `requests` of them. `ledger`: text in a status that
    was read, a `Ledger` in one that has not been written. `drift`: which answers were far from those of training when words were
    last found. `begun`: how many times each place has begun, by its number in words; `warmth`: of the pods on trial. `traffic`:
    what both versions answered in this stage; `requests_per_s`: in those before, each with its first revision; 0 if not known."""

    ledger: str | Ledger = ""
    place: int = -1
    revision: int = 0
    first: int = 0
    since: str = ""
    baseline: str = ""
    spent_s: float = 0.0
    here_s: float = 0.0
    requests: int = 0
    looked: float = 0.0
    told: float = 0.0
    analysis: dict[str, Any] = {}
    arm: str = ""
    drift: list[str] = []
    begun: dict[str, int] = {}
    warmth: Warmth = msgspec.field(default_factory=Warmth)
    traffic: Traffic = NOTHING
    requests_per_s: list[tuple[int, float]] = []

    def requests_per_s_at(self, revision: int) -> float:
        """Those in the stage before this one that had a revision of the route; 0 if that is not known."""
        return next((per_s for first, per_s in reversed(self.requests_per_s) if first <= revision), 0.0)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the counts say, and what the next status remembers of them. `sentence` is empty where nothing new is said; `here_s`:
    for how long the version has been seen to get requests in this stage."""

    move: Move
    sentence: str
    evidence: dict[str, Any]
    here_s: float

    @property
    def verdicts(self) -> dict[str, Any]:
        """What is kept of a trial that is over."""
        return verdicts_of(self.evidence)


def verdicts_of(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a trial's evidence once it is over: all but the ledger and the last step's blocks."""
    kept = {name: value for name, value in evidence.items() if name != "ledger"}
    if isinstance(analysis := kept.get("analysis"), Mapping):
        kept["analysis"] = {name: value for name, value in analysis.items() if name != BLOCKS_KEPT}
    return kept


def is_tried(version: ModelVersion) -> bool:
    """Whether evidence decides how it goes on."""
    return version.spec.rollout.strategy == "evidence" and stage_of(version) in _ON_TRIAL


def look_s(version: ModelVersion, looked: float) -> float:
    """Seconds from a look at a version on trial, at that moment, to the next. By the moment of the look, not by that of the
    question: it would not be time yet when it was meant to be, and every look would be made twice."""
    return look_at_age_s(looked - read_moment(version.status.stage_since, looked))


def look_at_age_s(age_s: float) -> float:
    """Seconds to the next look in a stage of this age."""
    return min(max(LOOK_S, age_s / _LOOKS_PER_AGE), _LONGEST_S)


def is_due(version: ModelVersion, now: float) -> bool:
    """Whether it is time to ask pods for evidence."""
    return is_tried(version) and due_in_s(version, now) <= 0.0


def due_in_s(version: ModelVersion, now: float) -> float:
    """Seconds until it is time, 0 or less if it is. A last look that is yet to come was by another clock."""
    looked = _remembered(version).looked
    return looked + look_s(version, looked) - now if looked <= now else 0.0


def place_of(version: ModelVersion) -> int | None:
    """The number of its stage in its trial; None for one of which no step speaks."""
    rollout = version.spec.rollout
    shadows = int(rollout.shadow is not None)
    if stage_of(version) is Stage.SHADOW:
        return 0 if shadows else None
    return shadows + rollout.steps.index(version.status.weight) if version.status.weight in rollout.steps else None


def judge(version: ModelVersion, baseline: ModelVersion | None, seen: Seen) -> Judgement | None:
    """What to make of this look; None if pods were not asked, or no step speaks of its stage. `baseline` None: the user's own
    bundle."""
    place = place_of(version)
    if seen.evidence is None or seen.route is None or place is None:
        return None
    memory = _remembered(version)
    digest = before_it(seen, baseline)
    arm = ARM if is_compared(version) else ""
    passed_s = _pass_time(memory, seen.now)
    if _is_new_stage(memory, version, place, digest, arm):
        _begin_stage(memory, version, place, digest, arm, seen.route.revision)
    ledger = read_ledger(memory.ledger)
    cold = _take(ledger, memory, version, seen, passed_s)
    ledger.forget({version.spec.bundle.digest, digest})
    evidence = stage_evidence(
        ledger.totals,
        candidate=version.spec.bundle.digest,
        baseline=digest,
        revisions={entry.revision for entry in ledger.totals if entry.revision >= memory.revision},
        shadow=stage_of(version) is Stage.SHADOW,
        arm=arm,
    )
    evidence = replace(evidence, cold=cold)
    if version.status.weight >= 100:
        earlier = range(memory.first - _BEFORE, memory.revision)
        loaded = read_loaded(ledger.totals, candidate=version.spec.bundle.digest, baseline=digest, revisions=earlier)
        if loaded is not None:
            evidence = replace(
                evidence,
                loaded=loaded.arm,
                load=loaded.factor,
                usual_requests_per_s=memory.requests_per_s_at(loaded.revision),
                traffic=memory.traffic,
            )
    if seen.quality:
        told = strata(seen.quality, candidate=version.spec.bundle.digest, baseline=digest, since=memory.first or memory.revision)
        evidence = replace(evidence, quality=told)
    trial = Trial(
        rollout=version.spec.rollout,
        place=place,
        candidate=version.name,
        baseline=baseline.name if baseline is not None else seen.model,
        elapsed_s=memory.spent_s,
        outcomes=seen.quality is not None,
        again=max(memory.begun.get(str(place), 1) - 1, 0),
    )
    # A minute without requests shows nothing, nor one of a cold version; only once the time is up none are waited for.
    if (evidence.candidate.requests > memory.requests and not cold) or trial.time_is_up:
        memory.here_s += passed_s
    trial = replace(trial, here_s=memory.here_s)
    memory.requests = evidence.candidate.requests
    analysis, in_words = _analysed(trial, evidence, memory, seen.now)
    memory.analysis = analysis.document
    if in_words:
        memory.drift = list(analysis.alerts)
    memory.ledger = ""
    remembered = {**msgspec.to_builtins(memory), "ledger": ledger}
    return Judgement(analysis.move, analysis.sentence if in_words else "", remembered, memory.here_s)


def _take(ledger: Ledger, memory: Memory, version: ModelVersion, seen: Seen, passed_s: float) -> bool:
    """Add up what came, and how much at a time; whether it came of a cold version, so that its latencies were left out. What
    transformers tell of times before the trial is of no cold version."""
    before, known = ledger.totals, dict(ledger.known)
    came = ledger.take(list(seen.evidence or ()), with_features=False)
    services = (seen.services.get(name) for name in (version.predictor, baseline_name(version)))
    pods = [start for service in services if service is not None for start in service.starts]
    memory.traffic = memory.traffic.after(*came_between(known, ledger.known, memory.revision))
    answers = any(entry.bundle == version.spec.bundle.digest and entry.requests for entry in came)
    cold = memory.warmth.look(passed_s, pods, answers=answers)
    if cold:
        kept = (without_latency(entry) if entry.revision >= memory.first else entry for entry in came)
        ledger.totals = merged([*before, *kept])
    return cold


def _pass_time(memory: Memory, now: float) -> float:
    """Seconds since the last look, as they count."""
    passed_s = min(max(now - memory.looked, 0.0), AWAY_S) if memory.looked else 0.0
    memory.spent_s, memory.looked = memory.spent_s + passed_s, now
    return passed_s


def _is_new_stage(memory: Memory, version: ModelVersion, place: int, baseline: str, arm: str) -> bool:
    """Whether counts begin anew: another step, another version or other pods to compare with, or the same step again, after it
    had lost its requests. What came under other shares, or of another pair, is not added up."""
    return (memory.place, memory.baseline, memory.arm, memory.since) != (place, baseline, arm, version.status.stage_since)


def _begin_stage(memory: Memory, version: ModelVersion, place: int, baseline: str, arm: str, revision: int) -> None:
    memory.first = memory.first or revision
    memory.begun = {**memory.begun, str(place): memory.begun.get(str(place), 0) + 1}
    # A baseline's pods get their first requests with its first step, whatever copies the candidate's have had.
    if arm and not memory.arm:
        memory.warmth.answered_s = 0.0
    memory.warmth.left_out_s = 0.0
    if memory.place >= 0:
        came = memory.revision, round(memory.traffic.requests_per_s, 3)
        memory.requests_per_s = [*memory.requests_per_s, came][-_STAGES:]
    memory.traffic = NOTHING
    memory.place, memory.since, memory.baseline, memory.arm = place, version.status.stage_since, baseline, arm
    memory.revision = revision
    memory.told, memory.here_s, memory.requests, memory.analysis = 0.0, 0.0, 0, {}


def _analysed(trial: Trial, evidence: Evidence, memory: Memory, now: float) -> tuple[Analysis, bool]:
    """The analysis, and whether it is in words: those of a version that goes on waiting are renewed now and then."""
    told = not 0.0 <= now - memory.told < TELL_S
    analysis = analyse(trial, evidence, memory.analysis, tell_all=told)
    if analysis.move is not Move.WAIT and not told:
        told = True
        analysis = analyse(trial, evidence, memory.analysis)
    if told:
        memory.told = now
    return analysis, told


def _remembered(version: ModelVersion) -> Memory:
    try:
        return msgspec.convert(version.status.evidence, Memory)
    except msgspec.ValidationError:
        # Written by another release: the trial begins anew.
        return Memory()
