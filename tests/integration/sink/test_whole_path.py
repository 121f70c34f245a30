"""Submitted, relayed, answered, sunk: every id is in the requests once and ends once, whoever is killed on the way."""

import random
import signal
from typing import Any

import pytest
import requests

from penstock.testing.waiting import until
from penstock_transformer.predictions.resource import State

KILLS = 4


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_everything_ends_once_whoever_is_killed(place: Any, client: str) -> None:
    draw = random.Random(7)
    options = ("--kafka_client", client)
    running = {"relay": place.relay(*options), "sink": place.sink(*options)}
    with place.answering():
        place.submit(20)
        for _ in range(KILLS):
            name = draw.choice(sorted(running))
            place.submit(draw.randrange(5, 20))
            running[name].signal(signal.SIGKILL)
            running[name].wait()
            running[name] = getattr(place, name)(*options)
            place.submit(draw.randrange(5, 20))
        place.wait_ended(place.submitted, 60)
    place.check()
    for process in running.values():
        assert process.wait_ready().stop() == 0


def test_broker_and_database_are_restarted_under_relay_and_sink(place: Any) -> None:
    relay, sink = place.relay(), place.sink()
    with place.answering():
        for server in (place.postgres, place.kafka, place.postgres):
            place.submit(20)
            server.kill()
            server.start()
        place.submit(5)
        place.wait_ended(place.submitted, 60)
    place.check()
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
