"""Our own rules: the operator's analysis, called on made counts as the operator calls it on its transformers'.

    Seen of a look --summed over the stage--> Evidence --analyse--> stay | next stage | live | rolled back

Counts begin anew with each stage, for they belong to a revision of the route; those of the first look after a step are left out,
as long as it takes every transformer to apply the new one. At 100 % the version before gets copies, to have something to compare
with, and the rollout stays there for a minute at least.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock_cli.rollout.simulate.counts import Counts
from penstock_cli.rollout.simulate.evidence import sparse
from penstock_cli.rollout.simulate.policy import Decision, End
from penstock_cli.rollout.simulate.trace import Seen, Shares
from penstock_cli.rollout.simulate.traffic import SLOT_S
from penstock_operator.analysis import Analysis, Arm, Evidence, Move, Pairs, Trial, analyse
from penstock_operator.baseline import MOST
from penstock_operator.judgement import BESIDE, FULL_S, look_at_age_s
from penstock_operator.model_version import Rollout

CANDIDATE, BASELINE = "the new version", "the one before"


@dataclass(frozen=True)
class Plan:
    """A rollout as a ModelVersion asks for it. `look_s`: seconds between looks, None for those of the operator."""

    rollout: Rollout = field(default_factory=Rollout)
    look_s: float | None = None
    candidate: str = CANDIDATE
    baseline: str = BASELINE


class EvidenceRules:
    """The rules of one rollout. `analysis` is that of the last look."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._place = 0
        self._settled = True
        self._remembered: Mapping[str, Any] = {}
        self._counts = Seen(Counts(), Counts(), Counts())
        self._begun_s, self._now_s = 0.0, 0.0
        self.analysis: Analysis | None = None

    @property
    def look_s(self) -> float:
        if self._plan.look_s is not None:
            return self._plan.look_s
        return SLOT_S * round(look_at_age_s(self._now_s - self._begun_s) / SLOT_S)

    def begin(self) -> Decision:
        return Decision(self._shares())

    def look(self, now_s: float, seen: Seen) -> Decision:
        self._now_s = now_s
        if not self._settled:
            self._settled = True
            return Decision(self._shares())
        self._counts.stable += seen.stable
        self._counts.candidate += seen.candidate
        self._counts.shadow += seen.shadow
        trial = self._trial(now_s)
        analysis = analyse(trial, self._evidence(trial), self._remembered, tell_all=False)
        self.analysis, self._remembered = analysis, analysis.document
        if analysis.move is Move.ROLL_BACK:
            return Decision(end=End.ROLLED_BACK, metric=_worst(analysis), why=analysis.sentence)
        if analysis.move is Move.ADVANCE and (trial.stage.weight < 100 or now_s - self._begun_s >= FULL_S):
            return self._advance(now_s, trial, analysis)
        return Decision(self._shares(), why=self._told(trial, analysis))

    def _told(self, trial: Trial, analysis: Analysis) -> str:
        """Why a rollout waits: in words only once time is up, for they cost more than all else."""
        if not trial.time_is_up:
            return ""
        return analyse(trial, self._evidence(trial), analysis.document).sentence

    def _advance(self, now_s: float, trial: Trial, analysis: Analysis) -> Decision:
        if self._place + 1 >= len(trial.stages):
            return Decision(end=End.LIVE, why=analysis.sentence)
        self._place += 1
        self._begun_s, self._settled = now_s, False
        self._counts = Seen(Counts(), Counts(), Counts())
        self._remembered = {}
        return Decision(self._shares())

    def _trial(self, now_s: float) -> Trial:
        plan = self._plan
        return Trial(rollout=plan.rollout, place=self._place, candidate=plan.candidate, baseline=plan.baseline, elapsed_s=now_s)

    def _shares(self) -> Shares:
        stage, shadow = self._trial(0.0).stage, self._plan.rollout.shadow
        if stage.shadow and shadow is not None:
            return Shares(0, shadow.fraction)
        baseline = self._plan.rollout.baseline and 0 < stage.weight <= MOST
        return Shares(stage.weight, beside=BESIDE if stage.weight >= 100 else 0.0, baseline=baseline)

    def _evidence(self, trial: Trial) -> Evidence:
        if trial.stage.shadow:
            return Evidence(candidate=_arm(self._counts.shadow), baseline=_arm(self._counts.stable), pairs=_pairs(self._counts))
        return Evidence(candidate=_arm(self._counts.candidate), baseline=_arm(self._counts.stable))


def _arm(counts: Counts) -> Arm:
    good = counts.requests - counts.errors
    return Arm(
        units=counts.keys,
        failed=counts.failed_keys,
        requests=counts.requests,
        rows=counts.requests,
        calls=counts.requests,
        latency=dict(sparse(counts.latency)),
        outputs={"scores.late": [*counts.outputs.tolist(), 0], "label": [counts.positives, good - counts.positives, 0]},
    )


def _pairs(seen: Seen) -> Pairs:
    pairs = seen.shadow.paired
    return Pairs(
        requests=pairs.requests,
        agreeing=pairs.agreeing,
        differing=pairs.differing,
        ratios=dict(sparse(pairs.ratios)),
        only_shadow_failed=pairs.only_shadow_failed,
        only_answer_failed=pairs.only_answer_failed,
    )


def _worst(analysis: Analysis) -> str:
    """The test that rolled back, by how far it is beyond what it needed; none when time was up."""
    harmful = [one for one in analysis.findings if one.harm >= one.needed_harm]
    return max(harmful, key=lambda one: one.harm - one.needed_harm).test if harmful else "time"
