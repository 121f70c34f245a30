"""One simulated rollout: a trace and the rules that look at it, until one of them has an end."""

from dataclasses import dataclass

from penstock_cli.rollout.simulate.policy import End, Policy
from penstock_cli.rollout.simulate.trace import Trace


@dataclass(frozen=True)
class Run:
    """How a rollout ended, and when: seconds from its beginning, and since the candidate answered its first request.

    `real_s` is None if it never answered any. `hurt`: requests that the candidate failed, its callers' loss. Weights: the per
    cent of requests that its first stage gave it, 0 of a shadow, and the most that any did.
    """

    end: End
    seconds: float
    real_s: float | None
    answered: int
    hurt: int
    first_weight: int
    greatest_weight: int
    metric: str = ""
    why: str = ""

    @property
    def went_on(self) -> bool:
        """Whether it left its first stage for more requests, or for good, wherever it ended."""
        return self.end is End.LIVE or self.greatest_weight > self.first_weight


def run(trace: Trace, policy: Policy) -> Run:
    """Look after look, until the rules end it or the trace is over."""
    decision = policy.begin()
    now_s, answered, hurt = 0.0, 0, 0
    first = greatest = decision.shares.weight
    real_from_s: float | None = None
    while decision.end is None and now_s < trace.seconds:
        if decision.shares.weight and real_from_s is None:
            real_from_s = now_s
        until_s = now_s + policy.look_s
        seen = trace.between(now_s, until_s, decision.shares)
        answered += seen.candidate.requests
        hurt += seen.candidate.errors
        now_s = until_s
        decision = policy.look(now_s, seen)
        greatest = max(greatest, decision.shares.weight)
    real_s = None if real_from_s is None else now_s - real_from_s
    end = decision.end or End.WAITING
    return Run(end, now_s, real_s, answered, hurt, first, greatest, decision.metric, decision.why)
