"""Finding the record that ends the predictor: suspects are tried alone, halves first, each try right after a healthy probe.

    a call died -> its records are suspects; nothing new is sent until what is in flight has come back
    -> probe -> healthy -> one group of suspects is tried, nothing else in flight
         nobody died         the group is cleared
         some died           they are halved, and each half is tried
         one, alone, died    that is one death; after `deaths_most`, each after a healthy probe, it is a `crashed` dead letter

n suspects with one poison among them cost about 2 log2 n tries. A predictor that others use too may end because of their records:
before a record is tried alone again, a random while passes, so that two workers do not blame each other's calls every time.

Invariant: a group is tried only while nothing else of this worker is in flight, and only after a probe that was answered healthy.
"""

from collections.abc import Iterable
from enum import Enum
from random import Random

from penstock_transformer.backoff import Backoff
from penstock_transformer.worker.entries import Entry


class Phase(Enum):
    """What the isolation waits for."""

    OFF = "off"
    GATHERING = "gathering"  # for what is in flight
    WAITING = "waiting"  # for a time
    PROBING = "probing"  # for the answer to the probe
    TRYING = "trying"  # for the outcomes of the group under trial


class Isolation:
    """The suspects of one worker. The machine tells it outcomes and health, and asks what to do next."""

    def __init__(self, backoff: Backoff, random: Random, deaths_most: int) -> None:
        self.phase = Phase.OFF
        self.until = 0.0
        self._backoff = backoff
        self._random = random
        self._deaths_most = deaths_most
        self._groups: list[list[Entry]] = []
        self._trial: list[Entry] = []
        self._died: list[Entry] = []
        self._away: list[Entry] = []
        self._failures = 0
        self._rested = False

    @property
    def active(self) -> bool:
        """Whether nothing but suspects may be sent."""
        return self.phase is not Phase.OFF

    @property
    def gathering(self) -> bool:
        """Whether what is in flight was sent before there were suspects."""
        return self.phase is Phase.GATHERING

    @property
    def wake(self) -> float | None:
        """When there is something to do, if nothing happens before."""
        return self.until if self.phase is Phase.WAITING else None

    def died(self, entry: Entry) -> None:
        """Its call ended with the predictor."""
        self._died.append(entry)
        if self.phase is Phase.OFF:
            self.phase = Phase.GATHERING

    def away(self, entry: Entry) -> None:
        """A suspect under trial found nobody: that blames nobody, and it is tried again."""
        self._away.append(entry)

    def settle(self, now: float) -> list[Entry]:
        """Nothing is in flight any more: judge what came back. Returns the entries that crashed the predictor once too often."""
        if self.phase not in (Phase.GATHERING, Phase.TRYING):
            return []
        crashed = self._judge()
        self._trial = []
        if self._away:
            self._groups.append(self._away)
            self._away = []
            self._failures += 1
            self._wait(now + self._backoff.delay_s(self._failures, self._random))
        else:
            self._failures = 0
            self._wait(now)
        return crashed

    def _judge(self) -> list[Entry]:
        died, self._died = self._died, []
        if not died:
            return []
        if self.phase is Phase.GATHERING:
            self._groups.append(died)
        elif len(self._trial) == 1:
            died[0].deaths += 1
            if died[0].deaths >= self._deaths_most:
                return died
            self._groups.append(died)
        else:
            half = (len(died) + 1) // 2
            self._groups += [part for part in (died[half:], died[:half]) if part]
        return []

    def _wait(self, until: float) -> None:
        self.phase = Phase.WAITING
        self.until = until
        self._rested = False

    def due(self, now: float) -> bool:
        """Whether to probe now. Ends the isolation if no suspect is left."""
        if self.phase is not Phase.WAITING:
            return False
        self._drop_dead()
        if not self._groups:
            self.phase = Phase.OFF
            self._failures = 0
            return False
        if now < self.until:
            return False
        self.phase = Phase.PROBING
        return True

    def health(self, healthy: bool, now: float) -> list[Entry]:
        """The answer to the probe. Returns the group to send, empty if it is not yet time or none is left."""
        if self.phase is not Phase.PROBING:
            return []
        self._drop_dead()
        if not healthy or not self._groups:
            self._failures += 1
            self._wait(now + self._backoff.delay_s(self._failures, self._random))
            return []
        deaths = self._groups[-1][0].deaths
        if deaths and not self._rested:
            self._wait(now + self._random.random() * self._backoff.first_s * 2**deaths)
            self._rested = True
            return []
        self._trial = self._groups.pop()
        self.phase = Phase.TRYING
        return self._trial

    def stop(self) -> None:
        """Try nobody any more."""
        self._groups, self._died, self._away = [], [], []
        self.phase = Phase.OFF

    def _drop_dead(self) -> None:
        """Suspects of partitions that are no longer ours are somebody else's to try."""
        alive = (live(group) for group in self._groups)
        self._groups = [group for group in alive if group]


def live(entries: Iterable[Entry]) -> list[Entry]:
    """Those whose partition is still ours."""
    return [entry for entry in entries if entry.queue.alive]
