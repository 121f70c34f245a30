"""One look at what requests did to a version on trial: what is remembered, what came since, and what that says of its next step.

    status.evidence + what pods tell of both bundles --judge--> Judgement(analysis, evidence for the next status)

A stage's counts are those of the revisions of the route since it began: every step is a revision of its own. When all requests go
to the version, nothing is beside it any more: it is compared with what the one before it did in the stages before.

Invariant: what is remembered and what follows from it are one write of the status, so nothing is counted twice or lost with the
operator; a pod that tells nothing is added up the next time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.evidence.document import Entry
from penstock.evidence.ledger import Ledger
from penstock_operator.analysis import Analysis, Evidence, Trial, analyse
from penstock_operator.counts import arm_of, pairs_of
from penstock_operator.model_version import ModelVersion
from penstock_operator.roles import stage_of
from penstock_operator.seen import Seen
from penstock_operator.stage import Stage

LOOK_S = 5.0
"""Pods are asked this often: each look is a write of the status."""
_ON_TRIAL = frozenset({Stage.SHADOW, Stage.CANARY, Stage.PROMOTING})


class Memory(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a status keeps under `evidence`. `place`: the stage's number in the trial; `revision`: the route's first of the stage,
    `first`: of the whole trial; times in s since 1970, `began` at the first request."""

    ledger: Ledger = msgspec.field(default_factory=Ledger)
    place: int = -1
    revision: int = 0
    first: int = 0
    began: float = 0.0
    looked: float = 0.0
    analysis: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the counts say, and what the next status remembers of them."""

    analysis: Analysis
    evidence: dict[str, Any]


def is_tried(version: ModelVersion) -> bool:
    """Whether evidence decides how it goes on."""
    return version.spec.rollout.strategy == "evidence" and stage_of(version) in _ON_TRIAL


def is_due(version: ModelVersion, now: float) -> bool:
    """Whether it is time to ask pods for evidence."""
    return is_tried(version) and now - _remembered(version).looked >= LOOK_S


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
    if memory.place != place:
        memory.place, memory.revision = place, seen.route.revision
        memory.first = memory.first or seen.route.revision
    digests = {baseline.spec.bundle.digest} if baseline is not None else {digest for digest, _ in seen.held}
    memory.ledger.take(list(seen.evidence), with_features=False)
    memory.ledger.forget({version.spec.bundle.digest, *digests})
    evidence = _evidence(memory, version, digests)
    if not memory.began and evidence.candidate.requests:
        memory.began = seen.now
    memory.looked = seen.now
    trial = Trial(
        rollout=version.spec.rollout,
        place=place,
        candidate=version.name,
        baseline=baseline.name if baseline is not None else seen.model,
        elapsed_s=seen.now - memory.began if memory.began else 0.0,
    )
    analysis = analyse(trial, evidence, memory.analysis)
    memory.analysis = analysis.document
    return Judgement(analysis, msgspec.to_builtins(memory))


def _evidence(memory: Memory, version: ModelVersion, digests: Iterable[str]) -> Evidence:
    shadow = stage_of(version) is Stage.SHADOW
    ours = _since(memory.ledger.entries(version.spec.bundle.digest, shadow=shadow), memory.revision)
    theirs = [entry for digest in sorted(digests) for entry in memory.ledger.entries(digest)]
    past = version.status.weight >= 100
    baseline = _since(theirs, memory.first if past else memory.revision)
    return Evidence(
        candidate=arm_of(ours), baseline=arm_of(baseline), pairs=pairs_of(ours) if shadow else None, past_baseline=past
    )


def _since(entries: Iterable[Entry], revision: int) -> list[Entry]:
    return [entry for entry in entries if entry.revision >= revision]


def _remembered(version: ModelVersion) -> Memory:
    try:
        return msgspec.convert(version.status.evidence, Memory)
    except msgspec.ValidationError:
        # Written by another release: the trial begins anew.
        return Memory()
