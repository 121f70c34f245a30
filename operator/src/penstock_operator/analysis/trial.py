"""Where a rollout stands, as an analysis needs to know it: its stages, which one it is in, whose versions, for how long."""

from dataclasses import dataclass
from functools import lru_cache

from penstock_operator.clock import duration_s
from penstock_operator.model_version import Rollout

_LONGEST_S = 7200.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `shadow`, or a step with this weight in per cent."""

    weight: int
    shadow: bool = False

    @property
    def name(self) -> str:
        return "shadow" if self.shadow else f"{self.weight} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """`place` is the stage's number among `stages`; `elapsed_s` counts from the first look at the first stage, whether requests
    come or not, `here_s` in this stage while the candidate gets requests and is not cold. `candidate` and `baseline` are the
    names that sentences use. `outcomes`: whether outcomes can be known, told or not. `again`: how many times this stage has begun
    anew."""

    rollout: Rollout
    place: int
    candidate: str
    baseline: str
    elapsed_s: float = 0.0
    here_s: float = 0.0
    outcomes: bool = False
    again: int = 0

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in order: the shadow, if there is one, and the steps."""
        return _stages(self.rollout.steps, shadowed=self.rollout.shadow is not None)

    @property
    def stage(self) -> Stage:
        return self.stages[self.place]

    @property
    def time_is_up(self) -> bool:
        return self.elapsed_s >= duration_s(self.rollout.max_duration, _LONGEST_S)


@lru_cache(maxsize=64)
def _stages(steps: tuple[int, ...], *, shadowed: bool) -> tuple[Stage, ...]:
    return (*([Stage(0, shadow=True)] if shadowed else []), *map(Stage, steps))
