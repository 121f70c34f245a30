"""What is to be found in a log no more: ids of records and of predictions, as digests, each with the time up to which it counts.

delete --append--> deleted.jsonl <--read-- readers, and writers that make files of what came before

Invariant: a deletion holds from the moment it is written, for what is logged already and for what is still on its way here; what
is asked about the same record afterwards is logged again.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.row import LogRow

RECORD, PREDICTION, OUTCOME = "record", "id", "outcome"


class Deleted:
    """The deletions of one moment: kind and digest to the time."""

    def __init__(self, until: dict[tuple[str, str], float]) -> None:
        self._until = until

    def covers(self, row: LogRow) -> bool:
        """Whether a logged row is one of them."""
        if not self._until:
            return False
        return self._covered(PREDICTION, row.id, row.clock) or (
            row.record is not None and self._covered(RECORD, row.record, row.clock)
        )

    def covers_outcome(self, outcome: Outcome) -> bool:
        """Whether an outcome's prediction is one of them, or its row."""
        if not self._until:
            return False
        row = row_identity(outcome.id, outcome.row)
        return (PREDICTION, _digest(outcome.id)) in self._until or (OUTCOME, _digest(row)) in self._until

    def _covered(self, kind: str, identity: str, clock_s: float) -> bool:
        return clock_s <= self._until.get((kind, _digest(identity)), -1.0)


class Deletions:
    """The file of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Deleted:
        """As they stand."""
        found: dict[tuple[str, str], float] = {}
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return Deleted(found)
        for line in lines:
            kind, digest, until = json.loads(line)
            found[kind, digest] = max(until, found.get((kind, digest), 0.0))
        return Deleted(found)

    def add(self, kind: str, identities: Iterable[str], until_s: float) -> None:
        """More of one kind; on the disk when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.writelines(json.dumps([kind, _digest(identity), until_s]) + "\n" for identity in identities)
            file.flush()
            os.fsync(file.fileno())


def row_identity(prediction: str, row: int) -> str:
    """What the outcome of one row of a prediction is known by, where the others stay."""
    return f"{prediction} {row}"


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()
