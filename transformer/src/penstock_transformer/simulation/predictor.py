"""A predictor that answers in any order, dies of poison, goes away and comes back; and what its answers are made into.

Invariant: it is a worker's own, so that what ends it is one of that worker's records, or one of the few kills that a history has.
"""

from random import Random

from penstock_transformer.broker.records import OutRecord, Record
from penstock_transformer.worker.outcomes import Answered, Away, Died, Outcome, Refused

PREDICTIONS, LETTERS = "m.predictions", "m.dead-letters"
POISON, INVALID, GROWS = b"poison", b"invalid", b"grows"
GROWN_BYTES = 4000


def letter(record: Record, reason: str) -> OutRecord:
    """A record's dead letter."""
    headers = (*record.headers, ("penstock-reason", reason.encode()), ("penstock-position", record.position.encode()))
    return OutRecord(LETTERS, record.key, record.value, headers, record.partition.number)


def prediction(record: Record) -> OutRecord:
    """A record's prediction; that of one that grows is larger than any topic takes."""
    value = b"p" * GROWN_BYTES if (record.value or b"").startswith(GROWS) else b"prediction"
    return OutRecord(PREDICTIONS, record.key, value, (("penstock-position", record.position.encode()),), record.partition.number)


class SimLetters:
    """The dead letters that the machine decides on."""

    def crashed(self, record: Record, attempts: int) -> OutRecord:
        del attempts
        return letter(record, "crashed")

    def too_large(self, record: Record, message: str) -> OutRecord:
        del message
        return letter(record, "too_large")


class SimPredictor:
    """`kills_left`: how often it may still end for no reason of the records'."""

    def __init__(self, random: Random, kills_left: int) -> None:
        self.calls: list[Record] = []
        self.down_until = 0.0
        self.kills_left = kills_left
        self._random = random

    def healthy(self, now: float) -> bool:
        return now >= self.down_until

    def forget(self) -> None:
        """The worker that asked is gone."""
        self.calls.clear()

    def kill(self, now: float) -> list[tuple[Record, Outcome]]:
        """End for no reason."""
        if not self.kills_left:
            return []
        self.kills_left -= 1
        return self._die(now)

    def _die(self, now: float) -> list[tuple[Record, Outcome]]:
        self.down_until = now + self._random.random() * 2
        calls, self.calls = self.calls, []
        # A call that had not begun found nobody: that is told apart.
        return [(record, Died("ended") if self._random.random() < 0.8 or _poison(record) else Away("away")) for record in calls]

    def step(self, now: float) -> list[tuple[Record, Outcome]]:
        """Answer some of the calls."""
        if now < self.down_until:
            calls, self.calls = self.calls, []
            return [(record, Away("away")) for record in calls]
        found: list[tuple[Record, Outcome]] = []
        self._random.shuffle(self.calls)
        for _ in range(min(len(self.calls), self._random.randint(1, 6))):
            record = self.calls.pop()
            if _poison(record):
                self.calls.append(record)
                return found + self._die(now)
            found.append((record, self._outcome(record)))
        return found

    def _outcome(self, record: Record) -> Outcome:
        if self._random.random() < 0.02:
            return Away("overloaded", retry_after_s=self._random.random())
        if (record.value or b"").startswith(INVALID):
            return Refused(letter(record, "invalid_input"), "invalid_input")
        return Answered(prediction(record))


def _poison(record: Record) -> bool:
    return (record.value or b"").startswith(POISON)
