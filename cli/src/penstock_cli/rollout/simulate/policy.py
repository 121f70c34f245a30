"""The port between a simulated rollout and the rules that decide it: theirs to say who gets what, and when it is over."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from penstock_cli.rollout.simulate.trace import Seen, Shares


class End(Enum):
    """How a rollout ended. WAITING: it did not, in the time that there was."""

    LIVE = "live"
    ROLLED_BACK = "rolled back"
    WAITING = "waiting"


@dataclass(frozen=True)
class Decision:
    """What holds from now on: the shares, or how it ended and by which metric and words."""

    shares: Shares = field(default_factory=Shares)
    end: End | None = None
    metric: str = ""
    why: str = ""


class Policy(Protocol):
    """The rules of one rollout; they are asked at every look, and keep what they need to know."""

    @property
    def look_s(self) -> float:
        """Seconds between looks, a multiple of SLOT_S."""
        ...

    def begin(self) -> Decision:
        """The shares with which the rollout starts."""
        ...

    def look(self, now_s: float, seen: Seen) -> Decision:
        """What follows from what was counted since the last look."""
        ...
