"""Submitted, relayed, answered, sunk: every id is in the requests once and ends once, whoever is killed on the way."""

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import requests

from penstock.errors import InvalidInput
from penstock.testing.committed import ids, records, until
from penstock_transformer.broker.opening import open_intake, open_outlet
from penstock_transformer.broker.records import Partition
from penstock_transformer.predictions.resource import State
from penstock_transformer.worker.dead_letters import DeadLetters
from penstock_transformer.worker.headers import id_of

KILLS = 4


class Nobody:
    """An assignment that nobody cares about."""

    def assigned(self, partitions: Any) -> None: ...
    def revoked(self, partitions: Any) -> None: ...
    def lost(self, partitions: Any) -> None: ...


@contextmanager
def worker(place: Any) -> Iterator[None]:
    """A worker's part, played on a thread: every fifth request is refused, the others are answered, exactly once."""
    settings = replace(place.settings(), kafka_metadata_age_s=1.0)
    intake = open_intake(settings, f"workers-{place.model}")
    outlet = open_outlet(settings, f"workers-{place.model}")
    letters = DeadLetters(f"{place.model}.dead-letters")
    stopping = threading.Event()

    def run() -> None:
        outlet.open()
        intake.subscribe([f"{place.model}.requests"], Nobody())
        seen = 0
        while not stopping.is_set():
            found = intake.poll(0.2, 100)
            out, offsets = [], {}
            for record in found:
                seen += 1
                error = InvalidInput("every fifth", field="rows")
                out.append(letters.of(record, error, None) if seen % 5 == 0 else place.answered(id_of(record)))
                offsets[Partition(*record.partition)] = record.offset + 1
            if out:
                outlet.commit(out, offsets, intake.group())
        intake.close()
        outlet.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(30)


def check(place: Any) -> None:
    """The counts of an independent reader, and the database's."""
    made, refused = (records(place.kafka.bootstrap, f"{place.model}.{name}") for name in ("predictions", "dead-letters"))
    assert ids(place.requests()) == dict.fromkeys(place.submitted, 1)
    assert ids(made) + ids(refused) == dict.fromkeys(place.submitted, 1)
    ended = place.wait_ended(place.submitted)
    for kind, state in ((made, State.SUCCEEDED), (refused, State.FAILED)):
        assert {identity for identity, one in ended.items() if one.state is state} == set(ids(kind))


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_everything_ends_once_whoever_is_killed(place: Any, client: str) -> None:
    draw = random.Random(7)
    options = ("--kafka_client", client)
    running = {"relay": place.relay(*options), "sink": place.sink(*options)}
    with worker(place):
        place.submit(20)
        for _ in range(KILLS):
            name = draw.choice(sorted(running))
            place.submit(draw.randrange(5, 20))
            running[name].signal(signal.SIGKILL)
            running[name].wait()
            running[name] = getattr(place, name)(*options)
            place.submit(draw.randrange(5, 20))
        place.wait_ended(place.submitted, 60)
    check(place)
    for process in running.values():
        assert process.wait_ready().stop() == 0


def test_broker_and_database_are_restarted_under_relay_and_sink(place: Any) -> None:
    relay, sink = place.relay(), place.sink()
    with worker(place):
        for server in (place.postgres, place.kafka, place.postgres):
            place.submit(20)
            server.kill()
            server.start()
        place.submit(5)
        place.wait_ended(place.submitted, 60)
    check(place)
    until(lambda: requests.get(f"{relay.wait_ready().url}/readyz", timeout=10).ok, 20, "the relay is ready again")
    until(lambda: requests.get(f"{sink.wait_ready().url}/readyz", timeout=10).ok, 20, "the sink is ready again")


def test_two_sinks_of_every_model_share_the_work(place: Any) -> None:
    options = ("--models", "", "--sink_group", f"g-{place.model}", "--kafka_metadata_age_s", "1")
    first, _ = place.sink(*options, instance="a"), place.sink(*options, instance="b").wait_ready()
    first.wait_ready()
    made = place.submit(40)
    place.answer(*made[:20])
    first.signal(signal.SIGKILL)
    place.answer(*made[20:])
    assert {one.state for one in place.wait_ended(made, 60).values()} == {State.SUCCEEDED}
