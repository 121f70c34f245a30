"""A row of changes of version, drawn by a seed: which bundle, how it comes, what goes wrong meanwhile, and whether it stays.

plan(count, seed) --> Change, Change, …      no two versions that answer at one time hold the same bundle
"""

import random
from dataclasses import dataclass

STEPS = ((50, 100), (10, 50, 100), (25, 100))
DISTURBANCES = (
    "nothing",
    "nothing",
    "the old predictor scales up",
    "the new predictor scales up",
    "an old predictor pod is killed",
    "a new predictor pod is killed",
    "a transformer pod is ended",
    "a worker pod is killed",
    "the operator is killed",
)
ROLLED_BACK = 0.4
VARIANTS = 4


@dataclass(frozen=True)
class Change:
    """One of them. `variant`: the number of its bundle; `steps` empty: at once."""

    number: int
    variant: int
    steps: tuple[int, ...]
    disturbance: str
    rolls_back: bool

    def describe(self) -> str:
        """A line for people."""
        how = f"by {', '.join(map(str, self.steps))} %" if self.steps else "at once"
        return f"{self.number}: v{self.variant + 1} {how}, {self.disturbance}, {'rolled back' if self.rolls_back else 'stays'}"


def plan(count: int, seed: int) -> list[Change]:
    """So many changes; the same seed gives the same ones. Every disturbance comes once before any comes again."""
    rng = random.Random(seed)
    disturbances: list[str] = []
    changes: list[Change] = []
    live, last = -1, -1
    for number in range(1, count + 1):
        if not disturbances:
            disturbances = rng.sample(DISTURBANCES, len(DISTURBANCES))
        variant = rng.choice([one for one in range(VARIANTS) if one not in (live, last)])
        steps = rng.choice(STEPS) if rng.random() < 0.5 else ()
        change = Change(number, variant, steps, disturbances.pop(), rng.random() < ROLLED_BACK)
        changes.append(change)
        last = variant
        if not change.rolls_back:
            live = variant
    return changes
