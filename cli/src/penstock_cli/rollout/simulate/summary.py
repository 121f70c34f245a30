"""What many runs of one scenario say together: shares of ends with their intervals, and how long they took."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstock_cli.rollout.simulate.interval import clopper_pearson
from penstock_cli.rollout.simulate.policy import End
from penstock_cli.rollout.simulate.run import Run


@dataclass(frozen=True)
class Share:
    """How many of the runs ended so, with the two-sided 95 % interval of their chance."""

    events: int
    trials: int

    @property
    def value(self) -> float:
        return self.events / self.trials if self.trials else float("nan")

    @property
    def bounds(self) -> tuple[float, float]:
        return clopper_pearson(self.events, self.trials)

    def __str__(self) -> str:
        low, high = self.bounds
        return f"{100 * self.value:.3g} % ({100 * low:.2g}-{100 * high:.2g} %)"


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile, of nothing nan."""

    median: float
    p95: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        if not values:
            return Spread(float("nan"), float("nan"))
        return Spread(*(float(one) for one in np.percentile(values, (50, 95))))


@dataclass(frozen=True)
class Summary:
    """Of one scenario under one set of rules. Seconds; `real_s` since the candidate's first answer, 0 if it gave none. `went_on`:
    from the first step, or from the shadow, whatever came of it then."""

    live: Share
    rolled_back: Share
    waiting: Share
    in_shadow: Share
    went_on: Share
    seconds_back: Spread
    real_s: Spread
    seconds_live: Spread
    hurt: Spread
    metrics: dict[str, int]


def summarise(runs: Sequence[Run]) -> Summary:
    """Times of ends are of the runs that ended so."""
    back = [run for run in runs if run.end is End.ROLLED_BACK]
    ends = Counter(run.end for run in runs)
    return Summary(
        live=Share(ends[End.LIVE], len(runs)),
        rolled_back=Share(len(back), len(runs)),
        waiting=Share(ends[End.WAITING], len(runs)),
        in_shadow=Share(sum(run.real_s is None for run in back), len(runs)),
        went_on=Share(sum(run.went_on for run in runs), len(runs)),
        seconds_back=Spread.of([run.seconds for run in back]),
        real_s=Spread.of([run.real_s or 0.0 for run in back]),
        seconds_live=Spread.of([run.seconds for run in runs if run.end is End.LIVE]),
        hurt=Spread.of([run.hurt for run in runs]),
        metrics=dict(Counter(run.metric for run in back).most_common()),
    )
