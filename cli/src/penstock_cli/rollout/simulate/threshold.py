"""The rival that compares a number with a bound, as an Argo Rollouts AnalysisTemplate over Prometheus does.

Every `interval` the success rate (and, if a bound is given, the p99) of the candidate over the last `window` is measured; a
measurement beyond the bound has failed, and more than `failureLimit` of them roll back. Steps follow one another after a pause.
The version before is not looked at. Defaults are those of Argo's own example: interval 5m, `result >= 0.95`, failureLimit 3,
steps with pauses of 10m (argo-rollouts docs/features/analysis.md), the steps themselves ours; the field's own default for
failureLimit is 0.

Kinder than the original: a window without requests is no measurement (there: inconclusive, or failed).
"""

from collections import deque
from dataclasses import dataclass, replace

from penstock_cli.rollout.simulate.counts import Counts
from penstock_cli.rollout.simulate.policy import Decision, End
from penstock_cli.rollout.simulate.trace import Seen, Shares
from penstock_operator.model_version import Rollout


@dataclass(frozen=True)
class Bounds:
    """An AnalysisTemplate and the steps that it runs beside; seconds."""

    success_rate: float = 0.95
    p99_s: float | None = None
    interval_s: float = 300.0
    window_s: float = 300.0
    failure_limit: int = 3
    steps: tuple[int, ...] = Rollout().steps
    pause_s: float = 600.0
    warm_up_s: float = 0.0


class ThresholdCheck:
    """The rules of one rollout; `highest` is the worst error rate and p99 ever measured, by which bounds are tuned."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._window: deque[Counts] = deque(maxlen=max(round(bounds.window_s / bounds.interval_s), 1))
        self._failures = 0
        self._began_s = 0.0
        self._step = 0
        self.highest = (0.0, 0.0)

    @property
    def look_s(self) -> float:
        return self._bounds.interval_s

    def begin(self) -> Decision:
        return Decision(Shares(self._bounds.steps[0]))

    def look(self, now_s: float, seen: Seen) -> Decision:
        self._window.append(seen.candidate)
        if now_s > self._bounds.warm_up_s:
            metric = self._measure()
            if metric:
                self._failures += 1
                if self._failures > self._bounds.failure_limit:
                    return Decision(end=End.ROLLED_BACK, metric=metric)
        if now_s - self._began_s >= self._bounds.pause_s:
            self._step += 1
            self._began_s = now_s
        if self._step >= len(self._bounds.steps):
            return Decision(end=End.LIVE)
        return Decision(Shares(self._bounds.steps[self._step]))

    def _measure(self) -> str:
        """The metric that is beyond its bound, or none."""
        total = Counts()
        for counts in self._window:
            total += counts
        if not total.requests:
            return ""
        rate, p99_s = total.errors / total.requests, total.p99_s()
        self.highest = (max(self.highest[0], rate), max(self.highest[1], p99_s if p99_s == p99_s else 0.0))
        if rate > 1 - self._bounds.success_rate:
            return "errors"
        return "latency" if self._bounds.p99_s is not None and p99_s > self._bounds.p99_s else ""


def tuned(bounds: Bounds, worst: list[tuple[float, float]], alpha: float) -> Bounds:
    """Bounds at which at most `alpha` of the good rollouts, whose worst measurements these are, would be rolled back.

    Each of the two metrics gets half of alpha. Nobody who sets a threshold by hand knows as much.
    """
    allowed = int(len(worst) * alpha / 2)
    rates, p99s = (sorted((one[place] for one in worst), reverse=True) for place in (0, 1))
    return replace(bounds, success_rate=1 - rates[allowed], p99_s=p99s[allowed], failure_limit=0)
