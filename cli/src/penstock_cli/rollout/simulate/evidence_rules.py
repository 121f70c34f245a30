"""Our own rules: the operator's judgement, called on made counts as the operator calls it on its transformers'.

    Seen of a look --added up, as a transformer tells it--> Evidence --judge--> stay | next stage | live | rolled back

The ModelVersion that is judged stands where the operator would have put it, and remembers what its status would. Each stage is a
revision of the route; what comes between a step and the next look is left out, as long as it takes every transformer to apply
the new one. At 100 % the version before gets copies, to have something to compare with, and the rollout stays there for a minute
at least.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from penstock.evidence.document import Entry, EntryKey, Evidence, Process
from penstock_cli.rollout.simulate.counts import Counts
from penstock_cli.rollout.simulate.evidence import CANDIDATE, STABLE, entry_of
from penstock_cli.rollout.simulate.policy import Decision, End
from penstock_cli.rollout.simulate.trace import Seen, Shares
from penstock_cli.rollout.simulate.traffic import SLOT_S
from penstock_operator import seen as operator
from penstock_operator.analysis import Move, Trial
from penstock_operator.analysis.alpha import harm_threshold
from penstock_operator.baseline import ARM, MOST
from penstock_operator.clock import write_moment
from penstock_operator.judgement import BESIDE, FULL_S, Judgement, judge, look_at_age_s
from penstock_operator.model_version import BundleSource, ModelVersion, Rollout, Spec, Status
from penstock_operator.stage import Stage

NAMES = {CANDIDATE: "the new version", STABLE: "the one before"}
_MODEL = "simulated"
_BEGAN = 1e9
"""The moment at which every rollout begins, in s since 1970."""
_OLD_S = 1e6
"""The age of the one transformer as a rollout begins: its first minute is long over."""


@dataclass(frozen=True)
class Plan:
    """A rollout as a ModelVersion asks for it. `look_s`: seconds between looks, None for those of the operator."""

    rollout: Rollout = field(default_factory=Rollout)
    look_s: float | None = None


class EvidenceRules:
    """The rules of one rollout."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._place = 0
        self._settled = True
        self._begun_s, self._now_s = 0.0, 0.0
        # A transformer tells sums since it began; those of revisions that are over it tells as they were.
        self._counts: dict[EntryKey, Counts] = {}
        self._told: dict[EntryKey, Entry] = {}
        self._remembered: dict[str, Any] = {}
        self._stable = _version(STABLE, plan.rollout, Status(phase="Live", stage=Stage.LIVE, weight=100))
        self._version = self._standing()

    @property
    def look_s(self) -> float:
        if self._plan.look_s is not None:
            return self._plan.look_s
        return SLOT_S * round(look_at_age_s(self._now_s - self._begun_s) / SLOT_S)

    def begin(self) -> Decision:
        return Decision(self._shares())

    def look(self, now_s: float, seen: Seen) -> Decision:
        self._now_s = now_s
        if self._settled:
            self._take(seen)
        self._settled = True
        judged = self._judge()
        if judged.move is Move.ROLL_BACK:
            return Decision(end=End.ROLLED_BACK, metric=self._worst(), why=judged.sentence)
        if judged.move is Move.ADVANCE and (self._trial.stage.weight < 100 or judged.here_s >= FULL_S):
            return self._advance(judged)
        return Decision(self._shares(), why=judged.sentence)

    def _judge(self) -> Judgement:
        now = _BEGAN + self._now_s
        remembered = self._remembered
        if remembered and not self._trial.time_is_up:
            # Words about a version that waits cost more than all else, and are read only if time is up.
            remembered = {**remembered, "told": now}
        version = msgspec.structs.replace(
            self._version, status=msgspec.structs.replace(self._version.status, evidence=remembered)
        )
        told = Evidence(_MODEL, [Process("one", _OLD_S + self._now_s, list(self._told.values()))])
        route = operator.Route("", "", self._revision, ())
        judged = judge(version, self._stable, operator.Seen("", _MODEL, now, route=route, evidence=(told,)))
        assert judged is not None, "a version in a step of its rollout is judged"
        self._remembered = judged.evidence
        return judged

    def _take(self, seen: Seen) -> None:
        """What one transformer tells from now on."""
        shares = self._shares()
        for counts, bundle, shadow, arm in (
            (seen.stable, STABLE, shares.beside > 0, ARM if shares.baseline else ""),
            (seen.candidate, CANDIDATE, False, ""),
            (seen.shadow, CANDIDATE, True, ""),
        ):
            if counts.requests:
                key = bundle, self._revision, shadow, arm
                total = self._counts.setdefault(key, Counts())
                total += counts
                self._told[key] = entry_of(total, bundle, self._revision, "", shadow=shadow, arm=arm)

    def _advance(self, judged: Judgement) -> Decision:
        if self._place + 1 >= len(self._trial.stages):
            return Decision(end=End.LIVE, why=judged.sentence)
        self._place += 1
        self._begun_s, self._settled = self._now_s, False
        self._version = self._standing()
        return Decision(self._shares())

    @property
    def _revision(self) -> int:
        return self._place + 1

    @property
    def _trial(self) -> Trial:
        return Trial(
            rollout=self._plan.rollout,
            place=self._place,
            candidate=NAMES[CANDIDATE],
            baseline=NAMES[STABLE],
            elapsed_s=self._now_s,
        )

    def _standing(self) -> ModelVersion:
        """The version on trial in its stage."""
        rollout, stage = self._plan.rollout, self._trial.stage
        name = Stage.SHADOW if stage.shadow else Stage.PROMOTING if stage.weight >= 100 else Stage.CANARY
        status = Status(
            phase=name,
            stage=name,
            weight=stage.weight,
            stage_since=write_moment(_BEGAN + self._begun_s),
            baseline=STABLE if rollout.baseline else "",
        )
        return _version(CANDIDATE, rollout, status)

    def _shares(self) -> Shares:
        stage, shadow = self._trial.stage, self._plan.rollout.shadow
        if stage.shadow and shadow is not None:
            return Shares(0, shadow.fraction)
        baseline = self._plan.rollout.baseline and 0 < stage.weight <= MOST
        return Shares(stage.weight, beside=BESIDE if stage.weight >= 100 else 0.0, baseline=baseline)

    def _worst(self) -> str:
        """The test that rolled back, by how far it is beyond what it needed; none when time was up."""
        tests = self._remembered["analysis"]["tests"]
        harmful = {name: test["harm"] for name, test in tests.items() if test["verdict"] == "harmful"}
        return max(harmful, key=lambda name: harmful[name] - harm_threshold(self._trial, name), default="time")


def _version(digest: str, rollout: Rollout, status: Status) -> ModelVersion:
    return ModelVersion(
        namespace="",
        name=NAMES[digest],
        uid=digest,
        resource_version="",
        generation=1,
        created="",
        deleted="",
        finalizers=(),
        annotations={},
        spec=Spec(inference_service=_MODEL, bundle=BundleSource(uri="", digest=digest), rollout=rollout),
        status=status,
    )
