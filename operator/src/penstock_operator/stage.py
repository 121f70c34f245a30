"""Where a version stands on its way, and what is shown of it.

    Pending -> Verifying -> Warming -> Joining -> [Shadow] -> Canary -> Promoting -> Live -> Kept -> Retired
       any of them --(bad bundle)--> Failed      --(asked for)--> RolledBack      --(a newer one)--> Retired

    Warming     its pods are being started; no transformer knows of it
    Joining     it is in the route with weight 0: transformers fetch its bundle, warm its encoder and acknowledge
    Canary      it gets `weight` per cent of requests
    Promoting   it is meant to get all of them; not every transformer has acknowledged that yet, or, by evidence, it is judged at
                100 % for a minute or more, and may still be rolled back
    Kept        another one is live; its pods stay, and it stays in the route with weight 0, so that a roll-back takes a second

Joining is shown as Warming, and Kept as Retired with the reason KeptForRollback.
"""

from enum import StrEnum


class Stage(StrEnum):
    """What `status.stage` says."""

    PENDING = "Pending"
    VERIFYING = "Verifying"
    WARMING = "Warming"
    JOINING = "Joining"
    SHADOW = "Shadow"
    CANARY = "Canary"
    PROMOTING = "Promoting"
    LIVE = "Live"
    KEPT = "Kept"
    RETIRED = "Retired"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"


UNFINISHED = frozenset({
    Stage.PENDING, Stage.VERIFYING, Stage.WARMING, Stage.JOINING, Stage.SHADOW, Stage.CANARY, Stage.PROMOTING,
})  # fmt: skip
"""On its way to all requests."""
JOINED = frozenset({Stage.JOINING, Stage.SHADOW, Stage.CANARY, Stage.PROMOTING})
"""Unfinished, and in the route."""
ENDED = frozenset({Stage.RETIRED, Stage.FAILED, Stage.ROLLED_BACK})
"""Out of the route for good, unless a roll-back needs it again; its pods go."""

_NAMED = {stage.value: stage for stage in Stage}
_SHOWN = {Stage.JOINING: Stage.WARMING, Stage.KEPT: Stage.RETIRED}


def read_stage(text: str) -> Stage:
    """The stage that a status names; Pending for a status of another release."""
    return _NAMED.get(text, Stage.PENDING)


def phase_of(stage: Stage, *, paused: bool) -> str:
    """What `status.phase` shows."""
    return "Paused" if paused and stage in UNFINISHED else _SHOWN.get(stage, stage).value
