"""What evidence says of a version on trial: harmful, harmless or undecided, what its rollout does next, and why in plain words.

    Evidence (counts of both arms) + Trial (where the rollout stands) + remembered --analyse--> Analysis(findings, move, sentence)

How to call it, at every look, as often as one likes:

    trial = Trial(rollout, place=0, candidate="flights-8", baseline="flights-7", elapsed_s=130.0)      # place: of trial.stages
    evidence = Evidence(candidate=Arm(units=…, failed=…, …), baseline=Arm(…), pairs=None or Pairs(…))  # cumulative, of this stage
    analysis = analyse(trial, evidence, remembered)        # remembered: analysis.document of the look before, {} at the first
    analysis.move       Move.ADVANCE | Move.ROLL_BACK | Move.WAIT          analysis.sentence      for status.message
    analysis.findings   one for each test                                  analysis.document      JSON, for status.evidence

`rollout` is `model_version.Rollout` (margins, alpha, steps, shadow, what to do when time is up). Counts are those of the stage
alone: of the route revisions in which the candidate has this stage's weight; counts under other weights must not be added in.
`merged` makes them of what transformers told. Pure: no clock, no chance, nothing kept; the simulator calls it as the operator
does.

Invariant: as `alpha` splits it, a version that is nowhere worse than its margins is rolled back with a chance of at most
`rollout.alpha`, and one that is worse in any of them goes on from the first stage below 100 % in which it is with a chance of at
most that; at 100 % harm need not be excluded, nor that of a shadow's latency (`decision`). Both hold as far as the share of
requests that an arm got stands for the one that it was to get (`statistics.difference`), and what its callers count for is right
(`callers`); and twice as much where stages begin anew without end (`alpha`).
"""

from penstock_operator.analysis.arms import Arm, Evidence, Pairs
from penstock_operator.analysis.decision import Analysis, Move, analyse
from penstock_operator.analysis.finding import Finding, Verdict
from penstock_operator.analysis.trial import Stage, Trial

__all__ = ["Analysis", "Arm", "Evidence", "Finding", "Move", "Pairs", "Stage", "Trial", "Verdict", "analyse"]
