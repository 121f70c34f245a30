"""The reader's memory: adds up what pods say at every look, whoever of them has died, started or lied meanwhile.

    look at every pod --take--> Ledger (JSON-able: it lies in a ModelVersion's status) --> totals

A process is asked again and again and answers with sums since it began; the ledger adds what came since it was last asked. So a
process that dies keeps what was read of it, one that starts begins at nothing, and nothing is counted twice, however often the
reader itself is killed, if it keeps the ledger in the same write as what it made of it.

Invariant: what was added is never taken back. A process younger than `young_s` is only looked at: what it counted until it came
of age is left out. One whose counts have fallen is not believed until they are above what they were.
"""

import msgspec

from penstock.evidence.adding import Fallen, difference, merged
from penstock.evidence.document import Entry, EntryKey, Evidence, Process

MAX_PROCESSES = 512
"""Processes remembered: the pods of one model with all their restarts during a rollout. Beyond them the one that has been silent
for longest is forgotten; should it speak again, all it has counted would be new. Where none is silent no other is taken up."""

YOUNG_S = 60.0


class Known(msgspec.Struct):
    """The last look at a process: what it said then, in which look of the ledger, and its own age when it was last believed: what
    came since came in that time, by its own clock. 0: of a release that did not keep it."""

    look: int
    entries: list[Entry]
    age_s: float = 0.0


class Ledger(msgspec.Struct):
    """`totals`: the sums of all processes, one entry for each bundle, revision, mode and arm. `doubted`: how many times
    counts of a process had fallen, or could not be added, or there was no room for a process."""

    totals: list[Entry] = []
    known: dict[str, Known] = {}
    looks: int = 0
    doubted: int = 0

    def take(self, pods: list[Evidence], *, young_s: float = YOUNG_S, with_features: bool = True) -> list[Entry]:
        """One look at every pod that answered; what came since the last one, of each process. `with_features`: keep histograms
        of features, which are most of a ledger's bytes."""
        self.looks += 1
        came: list[Entry] = []
        # Those that are known first: by then none of them looks silent, and gives way to a new one.
        for process in sorted((one for pod in pods for one in pod.processes), key=lambda one: one.incarnation not in self.known):
            if self._has_room(process.incarnation):
                came.extend(self._came(process, young_s, with_features))
            else:
                self.doubted += 1
        self.totals = merged([*self.totals, *came])
        return came

    def forget(self, bundles: set[str]) -> None:
        """Drop the totals of all bundles but these: those of rollouts that are over."""
        self.totals = [entry for entry in self.totals if entry.bundle in bundles]

    def entries(self, bundle: str, *, shadow: bool = False) -> list[Entry]:
        """A bundle's totals, one entry a revision, oldest first."""
        return [entry for entry in self.totals if entry.bundle == bundle and entry.shadow == shadow]

    def _has_room(self, incarnation: str) -> bool:
        if incarnation in self.known or len(self.known) < MAX_PROCESSES:
            return True
        silent = min(self.known, key=lambda one: self.known[one].look)
        if self.known[silent].look == self.looks:
            return False
        del self.known[silent]
        return True

    def _came(self, process: Process, young_s: float, with_features: bool) -> list[Entry]:
        before = self.known.get(process.incarnation)
        told = {entry.key: entry if with_features else msgspec.structs.replace(entry, features={}) for entry in process.entries}
        kept: dict[EntryKey, Entry] = {} if before is None else {entry.key: entry for entry in before.entries}
        came: list[Entry] = []
        doubted = self.doubted
        for key, entry in told.items():
            last = kept.get(key)
            if last == entry:
                continue  # nothing came: an entry of a route that is over
            try:
                since = difference(entry, last)
            except Fallen:
                self.doubted += 1
                continue
            kept[key] = entry
            came.append(since)
        # An entry that a process tells no more is kept: it may be one that says nothing today and all of it tomorrow.
        unbelieved = before is not None and (not told or self.doubted > doubted)
        age_s = before.age_s if before is not None and unbelieved else process.age_s
        self.known[process.incarnation] = Known(self.looks, list(kept.values()), age_s)
        return came if process.age_s >= young_s else []
