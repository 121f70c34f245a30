"""Two relays, any fault between any two effects: what is submitted is in the log once, in the order of its key.

`PENSTOCK_HISTORIES` says how many histories are played (100,000 in the long run); `PENSTOCK_SEED` where they begin.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest

from penstock_transformer.relay import effects as fx
from penstock_transformer.relay import events as ev
from penstock_transformer.relay.machine import RelayMachine

HISTORIES = int(os.environ.get("PENSTOCK_HISTORIES", "1000"))
SEED = int(os.environ.get("PENSTOCK_SEED", "0"))
CAUGHT_WITHIN = 3000
# Where the faults that show rarely have shown: looked at first, then everywhere.
SHOWN_AT = {"Comparing": 1687, "no epochs in the database": 657}


@pytest.mark.timeout(3600)
def test_each_submitted_intent_is_in_the_log_once_whatever_dies(simulation: Any) -> None:
    published = takeovers = 0
    for seed in range(SEED, SEED + HISTORIES):
        world = simulation.world(seed)
        world.run()
        assert simulation.verdict(world) == [], f"seed {seed}"
        published += len(world.broker.log)
        takeovers += sum(relay.machine.takeovers for relay in world.relays)
    # A history in which nothing is sent, or nobody ever finds a batch of another's, proves nothing.
    assert published > 10 * HISTORIES
    assert takeovers > HISTORIES / 20


class Trusting(RelayMachine):
    """Takes a commit in doubt for one that did not happen."""

    def _marker_read(self, number: int) -> list[fx.Effect]:
        return super()._marker_read(0)


class Hopeful(RelayMachine):
    """Takes a commit in doubt for one that happened."""

    def _send_failed(self, event: ev.SendFailed) -> list[fx.Effect]:
        return self._sent() if event.fault is ev.Fault.UNKNOWN and self._intents else super()._send_failed(event)


class Comparing(RelayMachine):
    """Looks for its own marker alone, and not for later ones."""

    def _marker_read(self, number: int) -> list[fx.Effect]:
        return super()._marker_read(number if number == self._number else 0)


class Impatient(RelayMachine):
    """Sends again what is in doubt, without looking."""

    def _send_failed(self, event: ev.SendFailed) -> list[fx.Effect]:
        return self._send() if event.fault is ev.Fault.UNKNOWN and self._intents else super()._send_failed(event)


class Renumbering(RelayMachine):
    """Sends what it finds pending under a number of its own."""

    def _send(self) -> list[fx.Effect]:
        sending = super()._send()
        if isinstance(sending[0], fx.Send):
            return [fx.Send(sending[0].slot, sending[0].number + 1, sending[0].intents)]
        return sending


@pytest.mark.parametrize("wrong", [Trusting, Hopeful, Comparing, Impatient, Renumbering])
def test_a_machine_that_is_wrong_is_found_out(simulation: Any, wrong: type[RelayMachine]) -> None:
    assert any_wrong(simulation, lambda seed: simulation.world(seed, wrong), wrong.__name__)


@pytest.mark.parametrize("mutation", ["no epochs in the database", "no numbers", "no order of keys", "no fencing", "no marker"])
def test_a_database_or_broker_that_is_wrong_is_found_out(simulation: Any, mutation: str) -> None:
    def unconditional(self: Any, slot: Any) -> Any:
        return self.slots[slot.name]

    class Wrong(simulation.database):  # type: ignore[misc]
        if mutation == "no epochs in the database":
            held = unconditional
        if mutation == "no order of keys":

            def blocked(self, slot: Any, intent: Any) -> bool:
                return False

        if mutation == "no numbers":

            def claim(self, slot: Any, after: int, number: int, what: Any) -> Any:
                return super().claim(slot, self.slots[slot.name].batch, number, what)

    class WrongBroker(simulation.broker):  # type: ignore[misc]
        if mutation == "no fencing":

            def open(self, name: str) -> int:
                return 0

        if mutation == "no marker":

            def marker(self, slot: Any) -> int:
                return 0

    class WrongWorld(simulation.world):  # type: ignore[misc]
        new_database = staticmethod(Wrong)
        new_broker = staticmethod(WrongBroker)

    assert any_wrong(simulation, WrongWorld, mutation)


def any_wrong(simulation: Any, make: Callable[[int], Any], name: str) -> bool:
    for seed in (SHOWN_AT.get(name, 0), *range(CAUGHT_WITHIN)):
        world = make(seed)
        world.run()
        if simulation.verdict(world):
            return True
    return False
