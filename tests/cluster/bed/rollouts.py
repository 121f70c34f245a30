"""Many changes of version in a row, one after the other, as a user makes them; and the times that they took.

    for change in plan(…): applied -> [promoted step by step] -> disturbed -> Live -> stays, or is rolled back and deleted

A version that stays replaces the one before it, which is deleted once it is replaced. What the versions answered is not looked at
here but in the traffic that ran meanwhile.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bed.changes import Change
from bed.disturbing import disturb, settle
from bed.flights import CLAIM, MODEL, Flights
from bed.traffic import Traffic
from bed.variants import Variant
from bed.versions import manifest, wait_for, wait_live

REPLICAS = 2
PROMOTE, ROLLBACK = "penstock.dev/promote", "penstock.dev/rollback"


@dataclass(frozen=True)
class Done:
    """A change that was made. Unix times; `rolled_back_at` None of one that stays. `load_s`: what the verification took to load
    the bundle and run its examples."""

    change: Change
    variant: Variant
    applied_at: float
    live_at: float
    rolled_back_at: float | None
    ended_at: float
    load_s: float


def make_changes(served: Flights, changes: Sequence[Change], variants: Sequence[Variant], within_s: float) -> list[Done]:
    """All of them, in order, or as many as begin in that time. Raises BedError for one that does not come Live."""
    done: list[Done] = []
    staying = ""
    until = time.monotonic() + within_s
    for change in changes:
        if time.monotonic() > until:
            break
        name = f"{MODEL}-r{change.number}"
        made = _make(served, name, change, variants[change.variant])
        gone = name if change.rolls_back else staying
        if not change.rolls_back:
            staying = name
        if gone:
            served.kubectl("delete", "modelversion", gone, "--wait=false")
        settle(served)
        done.append(made)
        print(f"{change.describe()}: Live after {made.live_at - made.applied_at:.1f} s", flush=True)
    return done


def _make(served: Flights, name: str, change: Change, variant: Variant) -> Done:
    rollout = {"strategy": "manual", "steps": list(change.steps)} if change.steps else {"strategy": "immediate"}
    document = manifest(name, variant.folder, uri=f"pvc://{CLAIM}/{variant.name}", replicas=REPLICAS, **rollout)
    applied_at = time.time()
    served.apply(document)
    for step in change.steps:
        wait_for(served, name, "reason", "AwaitingPromotion")
        _annotate(served, name, PROMOTE, str(step))
        if step < 100:
            wait_for(served, name, "weight", str(step))
        if step == change.steps[0]:
            disturb(served, name, change.disturbance)
    wait_live(served, name)
    live_at = time.time()
    if not change.steps:
        disturb(served, name, change.disturbance)
    status = json.loads(served.kubectl("get", "modelversion", name, "--output=json"))["status"]
    rolled_back_at = None
    if change.rolls_back:
        rolled_back_at = time.time()
        _annotate(served, name, ROLLBACK, "a test")
        wait_for(served, name, "phase", "RolledBack")
    load_s = status["verification"]["seconds"]
    return Done(change, variant, applied_at, live_at, rolled_back_at, time.time(), load_s)


def _annotate(served: Flights, name: str, annotation: str, value: str) -> None:
    served.kubectl("annotate", "modelversion", name, f"{annotation}={value}", "--overwrite")


@dataclass(frozen=True)
class Times:
    """Seconds, one entry a change: from applied to the first request that the version answered, of which `load_s` its load; from
    the roll-back's annotation to the last request that it answered."""

    first_request_s: list[float]
    load_s: list[float]
    last_request_s: list[float]


def measure(done: Sequence[Done], traffic: Traffic) -> Times:
    """What callers saw of each change, by what they were answered."""
    answers = sorted((answer.at, answer.named) for way in traffic.values() for answer in way.answers)
    first, last = [], []
    for number, made in enumerate(done):
        names = (made.variant.label, made.variant.name)
        until = next((later.applied_at for later in done[number + 1 :] if later.variant == made.variant), float("inf"))
        mine = [at for at, named in answers if named in names and made.applied_at < at < until]
        if mine:
            first.append(mine[0] - made.applied_at)
        if made.rolled_back_at is not None:
            last.append(max((at for at in mine if at > made.rolled_back_at), default=made.rolled_back_at) - made.rolled_back_at)
    return Times(first, [made.load_s for made in done], last)
