"""From Kafka to the database, with real servers: what ends, what is left behind, and whatever dies."""

import signal
from typing import Any

import requests

from penstock.testing.waiting import until
from penstock_transformer.broker.records import OutRecord
from penstock_transformer.predictions.resource import State


def counted(sink: Any, outcome: str) -> float:
    """A count of the sink's own."""
    text = requests.get(f"{sink.url}/metrics", timeout=10).text
    return next((float(line.split()[-1]) for line in text.splitlines() if f'outcome="{outcome}"' in line), 0.0)


def test_results_and_dead_letters_end_their_predictions(place: Any) -> None:
    sink = place.sink().wait_ready()
    good, bad, again, *_ = place.submit(4)
    place.write([OutRecord(f"{place.model}.predictions", None, b"\xff", (("ce_id", b"\xff"),))])
    place.answer(good, "not one of ours")
    place.refuse(bad, again)
    ended = place.wait_ended([good, bad, again])
    assert (ended[good].state, ended[good].bundle, ended[good].result.body) == (State.SUCCEEDED, "m@sha256:1", b"[1]")
    assert (ended[bad].state, ended[bad].kind, ended[bad].field) == (State.FAILED, "invalid_input", "rows[0]")
    # Twice, and late, changes nothing; only what a replay brings does.
    place.answer(good, bad)
    place.answer(again, penstock_replayed=b"x/0/0")
    until(lambda: place.predictions([again])[again].state is State.SUCCEEDED, 30, "the replay's outcome")
    until(lambda: counted(sink, "repeated") == 2, 30, "two that were known")
    assert place.predictions([bad])[bad].state is State.FAILED
    assert (counted(sink, "unknown"), counted(sink, "unreadable"), counted(sink, "ended")) == (1, 1, 4)
    assert place.predictions(place.submitted[3:])[place.submitted[3]].state is State.STARTING
    assert requests.get(f"{sink.url}/readyz", timeout=10).status_code == 200
    assert sink.stop() == 0


def test_a_sink_that_is_killed_between_any_two_effects_loses_nothing(place: Any) -> None:
    ids: list[str] = []
    for point in ("sink.read", "sink.written", "sink.committed"):
        ids += (more := place.submit(30))
        place.answer(*more)
        assert place.sink(failpoints=f"{point}=kill@2").wait(60) == -signal.SIGKILL
    place.sink()
    assert {one.state for one in place.wait_ended(ids).values()} == {State.SUCCEEDED}
