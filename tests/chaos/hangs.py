"""Programs that stand still and go on later: `Hangs`. SIGSTOP, and SIGCONT once others had to take them for dead.

Who hangs keeps its connections, its locks and its open transaction. It hangs for longer than a transaction may take, and at about
every other time for longer than a session: what it held goes to others, and when it goes on it must be refused whatever it had
begun. At every other time a part that holds no port of its own has a successor by then, under the same name, as a pod whose
machine is out of reach: two of one name, of which the older has to stop.
"""

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from cast import Program

from penstock.testing.servers import Server

_TRANSACTION_S, _SESSION_S = 4, 8
# For all of our programs: with what they take by themselves a hang would have to last half a minute.
ENVIRONMENT = {
    "PENSTOCK_TRANSFORMER_KAFKA_TRANSACTION_TIMEOUT_S": str(_TRANSACTION_S),
    "PENSTOCK_TRANSFORMER_KAFKA_SESSION_TIMEOUT_S": str(_SESSION_S),
    "PENSTOCK_TRANSFORMER_RELAY_LEASE_S": str(_TRANSACTION_S),
}
_SHORTEST_S, _LONGEST_S = _TRANSACTION_S + 1.0, _SESSION_S + 4.0
_HOLD_NO_PORT = frozenset({"worker-0", "worker-1", "relay", "sink"})
# An older one that has not stopped by then is killed: a relay takes another slot, and works on.
_LEFT_S = 15.0


@dataclass
class _Older:
    """One that hangs, or has hung, while its successor works. `until`: the next thing that is done to it."""

    process: subprocess.Popen[bytes]
    until: float
    hangs: bool = True


class Hangs:
    """Who hangs. `begun` counts hangs by name, `succeeded` those with a successor, `stopped` the older ones that ended by
    themselves."""

    def __init__(self, targets: Mapping[str, Program | Server], chance: random.Random) -> None:
        self.begun: Counter[str] = Counter()
        self.succeeded = self.stopped = 0
        self._targets = targets
        self._chance = chance
        self._until: dict[str, float] = {}
        self._older: list[_Older] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for older in self._older:
            older.process.kill()
            older.process.wait()

    def begin(self, name: str) -> bool:
        """Let it hang; False if it does already."""
        if name in self._until:
            return False
        target = self._targets[name]
        until = time.monotonic() + self._chance.uniform(_SHORTEST_S, _LONGEST_S)
        target.pause()
        self.begun[name] += 1
        if isinstance(target, Program) and name in _HOLD_NO_PORT and self._chance.random() < 0.5:
            self._older.append(_Older(target.give_up(), until))
            target.start()
            self.succeeded += 1
        else:
            self._until[name] = until
        return True

    def forget(self, name: str) -> None:
        """It is killed: nothing of it goes on."""
        self._until.pop(name, None)

    def go_on(self) -> None:
        """Those whose time has come go on; older ones that had their time are killed."""
        now = time.monotonic()
        for name in [name for name, until in self._until.items() if until <= now]:
            self._resume(name)
        left = []
        for older in self._older:
            if older.process.poll() is not None:
                self.stopped += 1
            elif older.until > now:
                left.append(older)
            elif older.hangs:
                older.process.send_signal(signal.SIGCONT)
                left.append(_Older(older.process, now + _LEFT_S, hangs=False))
            else:
                older.process.kill()
                older.process.wait()
        self._older = left

    def end(self) -> None:
        """All go on; return when no older one is left."""
        for name in list(self._until):
            self._resume(name)
        while self._older:
            self.go_on()
            time.sleep(0.1)

    def _resume(self, name: str) -> None:
        del self._until[name]
        if self._targets[name].running:
            self._targets[name].resume()
