"""Who is who among a model's versions: which one answers, which one is on its way, which ones wait or must go.

Derived from what the statuses remember, never remembered itself: an operator that died between two writes finds the same roles.

Invariant: at most one version is on its way into the route; a version that leaves answers on only while nothing else can.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from penstock_operator.clock import read_moment, write_moment
from penstock_operator.model_version import ROLLBACK, ModelVersion
from penstock_operator.stage import ENDED, JOINED, UNFINISHED, Stage, read_stage


@dataclass(frozen=True, slots=True)
class Roles:
    """`base` answers what the candidate does not; None: the user's own bundle does, or nobody yet. `held`: the base is leaving,
    and nothing can take its place. `urgent`: the candidate is to take it, without steps. `needed`: has to warm up for that.
    `users_own`: the user's InferenceService has a bundle of its own to fall back on."""

    base: ModelVersion | None
    candidate: ModelVersion | None
    superseded: tuple[ModelVersion, ...] = ()
    verifying: tuple[ModelVersion, ...] = ()
    queued: tuple[ModelVersion, ...] = ()
    held: bool = False
    urgent: bool = False
    needed: ModelVersion | None = None
    users_own: bool = False


def stage_of(version: ModelVersion) -> Stage:
    """Where a version stands on its way, as its status remembers it."""
    return read_stage(version.status.stage)


def is_verified(version: ModelVersion) -> bool:
    """Whether the very digest that the version names has been verified."""
    return version.status.holds("Verified") and version.status.digest == version.spec.bundle.digest


def is_leaving(version: ModelVersion) -> bool:
    """Deleted, or rolled back by its annotation."""
    return bool(version.deleted) or ROLLBACK in version.annotations


def live_moment(versions: Iterable[ModelVersion], now: float) -> str:
    """The `liveSince` of a version that goes live now. The latest is the one that answers: so it is after all others', though
    these were written by an operator whose clock was ahead."""
    last = max((read_moment(version.status.live_since, 0.0) for version in versions), default=0.0)
    return write_moment(max(now, last + 0.002))


def find_roles(versions: Iterable[ModelVersion], *, users_own: bool) -> Roles:
    """The roles now."""
    ordered = sorted(versions, key=lambda version: version.order)
    staying = [version for version in ordered if not is_leaving(version)]
    base = _latest(staying, Stage.LIVE) or _latest(staying, Stage.KEPT)
    alone = base is None and not users_own
    candidate, superseded, verifying, queued = _on_their_way(staying, alone=alone)
    held, urgent, needed = False, False, None
    if alone:
        last = _latest(ordered, Stage.LIVE) or _latest(ordered, Stage.PROMOTING, leaving=True)
        before = _former(staying)
        if last is not None and (not last.deleted or candidate is not None or before is not None):
            base, held = last, True
            needed = before if candidate is None else None
            urgent = candidate is not None and bool(candidate.status.live_since or last.deleted)
        if base is not None and candidate is not None and urgent and stage_of(candidate) in (Stage.CANARY, Stage.PROMOTING):
            # It has answered already, every transformer knows it: it takes over at once.
            base, held = None, False
    return Roles(base, candidate, superseded, verifying, queued, held, urgent, needed, users_own)


def _on_their_way(
    staying: list[ModelVersion], *, alone: bool
) -> tuple[ModelVersion | None, tuple[ModelVersion, ...], tuple[ModelVersion, ...], tuple[ModelVersion, ...]]:
    """The one candidate, those that it supersedes, those that may be verified beside it, and those that wait.

    One that is about to answer everything is not superseded any more, nor (`alone`) one that answers with nothing beside it.
    """
    candidate: ModelVersion | None = None
    superseded: list[ModelVersion] = []
    verifying: list[ModelVersion] = []
    queued: list[ModelVersion] = []
    for version in (version for version in staying if stage_of(version) in UNFINISHED):
        if candidate is None:
            candidate = version
        elif queued or candidate.spec.rollout.on_newer_version == "queue" or _is_settled(candidate, alone=alone):
            queued.append(version)
        elif is_verified(version):
            superseded += [candidate, *verifying]
            candidate, verifying = version, []
        else:
            verifying.append(version)
    joined = [version for version in (*verifying, *queued) if stage_of(version) in JOINED]
    return candidate, (*superseded, *joined), tuple(verifying), tuple(queued)


def _is_settled(candidate: ModelVersion, *, alone: bool) -> bool:
    stage = stage_of(candidate)
    return bool(candidate.status.live_since) or stage is Stage.PROMOTING or (alone and stage in JOINED)


def _latest(versions: list[ModelVersion], stage: Stage, *, leaving: bool = False) -> ModelVersion | None:
    """Of those in a stage (and `leaving`, if asked for) the one that went live last."""
    found = [one for one in versions if stage_of(one) is stage and (is_leaving(one) or not leaving)]
    return max(found, key=lambda version: (version.status.live_since, version.order), default=None)


def _former(staying: list[ModelVersion]) -> ModelVersion | None:
    """Of those that have been live and are gone the latest: what a roll-back can bring back."""
    found = [one for one in staying if stage_of(one) in ENDED and one.status.live_since and is_verified(one)]
    found = [one for one in found if stage_of(one) is Stage.RETIRED]
    return max(found, key=lambda version: (version.status.live_since, version.order), default=None)
