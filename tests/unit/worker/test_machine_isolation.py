"""Isolation: whoever ends the predictor is found by halves, alone, after a healthy probe each time, and nobody else is blamed."""

from typing import Any

import pytest

from penstock_transformer.broker.records import Partition
from penstock_transformer.worker import effects, events
from penstock_transformer.worker.isolation import Phase

A, B = Partition("m.requests", 0), Partition("m.requests", 1)


def play(driven: Any, poison: set[int]) -> int:
    """Answer every try as a predictor that these offsets end; how many tries it took until all is committed."""
    tries, handled = 0, 0
    for _ in range(3000):
        fresh, handled = driven.effects[handled:], len(driven.effects)
        acted = False
        for effect in fresh:
            if isinstance(effect, effects.Probe):
                driven.tell(events.Health(True))
                acted = True
            elif isinstance(effect, effects.Commit):
                driven.tell(events.CommitDone())
                acted = True
            elif isinstance(effect, effects.Predict):
                tries += 1
                acted = True
                if any(record.offset in poison for record in effect.records):
                    driven.die(*effect.records)
                else:
                    driven.answer(*effect.records)
        if not acted:
            if not any(map(len, driven.machine.queues.values())):
                return tries
            driven.wait()
    raise AssertionError("it came to no end")


@pytest.mark.parametrize("poison", range(16))
def test_a_poison_record_in_any_place_is_found_and_nobody_else_is_blamed(driven: Any, poison: int) -> None:
    driven.assign()
    driven.poll(16)
    tries = play(driven, {poison})
    assert driven.machine.tally.letters == {"crashed": 1}
    assert driven.machine.tally.predictions == 15
    assert tries <= 2 + 2 * 4 + 3


def test_many_in_a_row(driven: Any) -> None:
    driven.assign()
    driven.poll(64)
    play(driven, set(range(10, 50)))
    assert driven.machine.tally.letters == {"crashed": 40}
    assert driven.machine.tally.predictions == 24


def test_a_predictor_that_ended_by_itself_blames_nobody(driven: Any) -> None:
    driven.assign()
    records = driven.poll(8)
    driven.die(*records)
    driven.tell(events.Health(True))
    assert driven.predicting() == records
    driven.answer(*records)
    assert driven.machine.tally.letters == {}
    assert driven.machine.isolation.phase is Phase.OFF


def test_nothing_else_is_in_flight_while_suspects_are_tried(driven: Any) -> None:
    driven.assign(A, B)
    suspects = driven.poll(2, A)
    others = driven.poll(2, B)
    driven.die(*suspects)
    later = driven.poll(1, B)
    assert driven.all(effects.Probe) == []
    driven.answer(*others)
    assert len(driven.all(effects.Probe)) == 1
    driven.tell(events.Health(True))
    assert driven.predicting() == suspects
    driven.answer(*suspects)
    assert driven.predicting() == later


def test_an_unhealthy_predictor_is_waited_for_with_backoff(driven: Any) -> None:
    driven.assign()
    suspects = driven.poll(1)
    driven.die(*suspects)
    for probes in range(1, 5):
        assert len(driven.all(effects.Probe)) == probes
        driven.tell(events.Health(False))
        driven.wait()
    assert len(driven.all(effects.Predict)) == 1
    driven.tell(events.Health(True))
    assert driven.predicting() == suspects


def test_away_in_a_try_is_no_death(driven: Any) -> None:
    driven.assign()
    (record,) = driven.poll(1)
    driven.die(record)
    for _ in range(5):
        driven.tell(events.Health(True))
        driven.away(record)
        driven.wait()
    assert record in driven.machine.flying or driven.machine.isolation.active
    assert driven.machine.tally.letters == {}


def test_suspects_of_partitions_that_go_are_dropped(driven: Any) -> None:
    driven.assign(A, B)
    driven.die(*driven.poll(2, A))
    driven.tell(events.Lost((A,)))
    driven.tell(events.Health(True))
    assert driven.machine.isolation.phase is Phase.OFF
    assert driven.poll(1, B) == driven.predicting()


def test_a_drain_tries_no_suspects(driven: Any) -> None:
    driven.assign()
    driven.die(*driven.poll(2))
    driven.tell(events.Drain(100.0))
    assert driven.last(effects.Stop).status == 0
