"""The trigger as a state machine without I/O: when a retraining is asked for, asked for again, and over.

                 a bound is passed                 accepted                       over: ended, replaced, silent
    QUIET ---------------------------> DUE -------------------------> UNDER_WAY ----------------------------+
      ^                                | ^  |                                                               |
      |               refused, away:   +-+  | gone, given up, replaced                                      v
      |               again, later          +---------------------------------------------------------> COOLING
      +------------------------------------------------------------------------- coolDown has passed -------+

Invariant: one retraining at most is due or under way; what it is asked for with (id, window, reasons) never changes once it is
due; no window of a bundle is asked for twice; and nothing is asked for before `cool_down_s` after the one before has ended.
"""

from typing import Literal

import msgspec

from penstock_transformer.feedback.trigger.bounds import Watch
from penstock_transformer.feedback.trigger.look import Finding, Look
from penstock_transformer.feedback.trigger.window import Window, retraining_id

State = Literal["quiet", "due", "under_way", "cooling"]
Ending = Literal["succeeded", "failed", "removed", "replaced", "silent", "gone", "abandoned"]
Progress = Literal["running", "succeeded", "failed", "removed"]

MOST_REASONS = 50
"""What is told has to fit into a variable of a Job."""


class Retraining(msgspec.Struct, frozen=True, omit_defaults=True):
    """One retraining, from the moment it is due. Times in s since 1970. `attempts` were made to ask for it; the next one is due
    at `next_s`. `accepted_s`: somebody took it. `ended_s`, `ending`: it is over, and how."""

    id: str
    model: str
    bundle: str
    label: str
    version: str | None
    window: Window
    rows: int
    outcomes: int
    reasons: tuple[Finding, ...]
    due_s: float
    attempts: int = 0
    next_s: float = 0.0
    fault: str = ""
    accepted_s: float | None = None
    ended_s: float | None = None
    ending: Ending | None = None


class Memory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept between two turns: the last retraining, and the last window that was judged."""

    retraining: Retraining | None = None
    judged: Window | None = None

    def state(self, now_s: float, cool_down_s: float) -> State:
        """Where the machine stands."""
        one = self.retraining
        if one is None:
            return "quiet"
        if one.ended_s is None:
            return "due" if one.accepted_s is None else "under_way"
        return "cooling" if now_s < one.ended_s + cool_down_s else "quiet"


def after_progress(memory: Memory, watch: Watch, progress: Progress | None, now_s: float) -> Memory:
    """What is known of the retraining that is under way; None: nothing."""
    one = memory.retraining
    if one is None or one.accepted_s is None or one.ended_s is not None:
        return memory
    if progress in ("succeeded", "failed", "removed"):
        return _ended(memory, one, progress, now_s)
    if progress == "running":
        return memory
    # Nobody says that it runs, and it may have died without a word.
    return _ended(memory, one, "silent", now_s) if now_s >= one.accepted_s + watch.longest_s else memory


def after_look(memory: Memory, watch: Watch, look: Look, now_s: float, *, busy: bool = False) -> Memory:
    """What a look at the log changes. `busy`: somebody retrains this model already, whoever asked for it."""
    memory = msgspec.structs.replace(memory, judged=look.window)
    one = memory.retraining
    if one is not None and one.ended_s is None:
        replaced = look.bundle and look.bundle != one.bundle
        return _ended(memory, one, "replaced", now_s) if replaced else memory
    if busy or not look.passed or look.note or memory.state(now_s, watch.cool_down_s) != "quiet":
        return memory
    identity = retraining_id(watch.model, look.bundle, look.window)
    if one is not None and one.id == identity:
        return memory
    due = Retraining(
        id=identity,
        model=watch.model,
        bundle=look.bundle,
        label=look.label,
        version=look.version,
        window=look.window,
        rows=look.rows,
        outcomes=look.outcomes,
        reasons=look.passed[:MOST_REASONS],
        due_s=now_s,
        next_s=now_s,
    )
    return msgspec.structs.replace(memory, retraining=due)


def to_ask(memory: Memory, now_s: float) -> Retraining | None:
    """The retraining that is to be asked for now; asking for it is the next attempt."""
    one = memory.retraining
    if one is None or one.accepted_s is not None or one.ended_s is not None or now_s < one.next_s:
        return None
    return one


def after_attempt(memory: Memory, outcome: str, now_s: float, again_s: float | None = None, fault: str = "") -> Memory:
    """What came of an attempt: `delivered`, `failed` (again in `again_s`), `gone` or `abandoned`, as for every webhook."""
    one = memory.retraining
    if one is None:
        return memory
    one = msgspec.structs.replace(one, attempts=one.attempts + 1, fault=fault)
    if outcome == "delivered":
        return msgspec.structs.replace(memory, retraining=msgspec.structs.replace(one, accepted_s=now_s))
    if outcome in ("gone", "abandoned"):
        return _ended(memory, one, "gone" if outcome == "gone" else "abandoned", now_s)
    return msgspec.structs.replace(memory, retraining=msgspec.structs.replace(one, next_s=now_s + (again_s or 0.0)))


def _ended(memory: Memory, one: Retraining, ending: Ending, now_s: float) -> Memory:
    return msgspec.structs.replace(memory, retraining=msgspec.structs.replace(one, ended_s=now_s, ending=ending))
