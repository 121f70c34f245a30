"""How a rollout's `alpha` is split, so that its promise holds over all tests, stages and looks together.

False roll-back: any test in any stage may cause one, so the shares of all of them add up to alpha (Bonferroni). They are uneven
on purpose. What a share costs is the log of it, in requests; where these are scarce, at the first step, a small share would
cost minutes, and where they are plenty it costs seconds. The error rate of a small arm is the slowest of all tests, so it has
most. Looks cost nothing: every test holds at all of them (`statistics`).

Outcomes come late, so that the test by them is one over all stages: where there can be any, it has a tenth of alpha, and the
others share what is left.

False advance: a version goes on only if every test says harmless, each at the whole of alpha. That is enough. If it is worse in
some metric, going on needs that one test to be wrong (an intersection-union test: Berger 1982); and if it is worse in several
stages, it comes to the second of them only by having been wrong in the first (testing in a fixed order: Maurer, Hothorn &
Lehmacher 1995). So the shares need not be split over metrics or stages. The last stage asks for less, and of latency a shadow
does (`decision`): there it is not bounded.

A stage that begins anew (its pods were deleted, another version answers) tests anew. The n-th time it has half of the share that
it had the time before, of both kinds: all its beginnings together have less than twice what one has.
"""

from math import log

from penstock_operator.analysis.trial import Trial

ERROR_RATE, LATENCY, OUTPUTS, DISAGREEMENT = "errorRate", "latencyP99", "outputDrift", "disagreement"

STEP_SHARES = {ERROR_RATE: 0.68, LATENCY: 0.18, OUTPUTS: 0.14}
SHADOW_SHARES = {ERROR_RATE: 0.31, LATENCY: 0.21, DISAGREEMENT: 0.32, OUTPUTS: 0.16}
QUALITY = "quality"
QUALITY_SHARE = 0.1
"""Of the whole rollout, for its one test by outcomes; only where outcomes can come, which is known before the first request."""
_FIRST_STEP, _SHADOW = 0.75, 0.15


def stage_share(trial: Trial, place: int) -> float:
    """The part of alpha that a stage may spend on a false roll-back when it begins; all stages' parts add up to 1."""
    stages = trial.stages
    steps = sum(not stage.shadow for stage in stages)
    left = 1.0 - _SHADOW if stages[0].shadow else 1.0
    if stages[place].shadow:
        return _SHADOW
    if steps == 1:
        return left
    first = place == len(stages) - steps
    return left * _FIRST_STEP if first else left * (1.0 - _FIRST_STEP) / (steps - 1)


def harm_threshold(trial: Trial, test: str) -> float:
    """The log e-value from which a test of this stage establishes harm; the one by outcomes is of the whole rollout."""
    if test == QUALITY:
        return -log(trial.rollout.alpha * QUALITY_SHARE)
    left = 1.0 - QUALITY_SHARE if trial.outcomes else 1.0
    shares = SHADOW_SHARES if trial.stage.shadow else STEP_SHARES
    return -log(trial.rollout.alpha * left * stage_share(trial, trial.place) * shares[test]) + _begun_anew(trial)


def harmless_threshold(trial: Trial) -> float:
    """The log e-value from which a test establishes that there is no more harm than its margin."""
    return -log(trial.rollout.alpha) + _begun_anew(trial)


def _begun_anew(trial: Trial) -> float:
    """What a threshold rises by: half of the share for each time that the stage has begun anew."""
    return trial.again * log(2.0)
