"""What the sink reads, and what it does with it, one case at a time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.predictions.resource import State
from penstock_transformer.sink import effects as fx
from penstock_transformer.sink import events as ev
from penstock_transformer.sink.machine import SinkLimits, SinkMachine
from penstock_transformer.sink.reading import read_ending
from penstock_transformer.sink.settings import SinkSettings
from penstock_transformer.worker.dead_letters import DeadLetters, read_letter

MADE = Partition("flights.predictions", 2)
LETTERS = Partition("flights.dead-letters", 2)


def made(offset: int = 0, identity: bytes = b"id-1", **values: Any) -> Record:
    headers = (
        ("ce_id", identity),
        ("content-type", b"application/octet-stream"),
        ("inference-header-content-length", b"12"),
        ("penstock-bundle", b"flights@sha256:1"),
        *values.pop("more", ()),
    )
    return Record(MADE, offset, 1_700_000_000_500, None, values.pop("value", b"body"), headers)


def dead(*, more: Any = ()) -> Record:
    request = Record(Partition("flights.requests", 2), 9, 1, b"k", b"{}", (("ce_id", b"id-1"), *more))
    out = DeadLetters("flights.dead-letters").of(request, InvalidInput("expected a number", field="rows[0].x"), "id-1")
    return Record(LETTERS, 0, 1_700_000_000_000, out.key, out.value, out.headers)


def test_a_prediction_is_a_success_with_its_body_and_its_form() -> None:
    ending = read_ending(made())
    assert ending is not None
    assert ending.payload is not None
    assert (ending.id, ending.state, ending.bundle) == ("id-1", State.SUCCEEDED, "flights@sha256:1")
    assert (ending.payload.body, ending.payload.nbytes) == (b"body", 4)
    assert dict(ending.payload.headers) == {
        "content-type": b"application/octet-stream",
        "inference-header-content-length": b"12",
    }
    assert (ending.ended_s, ending.replayed) == (1_700_000_000.5, False)


def test_a_dead_letter_is_a_failure_with_its_reason() -> None:
    ending = read_ending(dead())
    assert ending is not None
    assert (ending.id, ending.state, ending.kind) == ("id-1", State.FAILED, "invalid_input")
    assert (ending.message, ending.field, ending.payload) == ("expected a number", "rows[0].x", None)


def test_what_follows_a_replay_says_so() -> None:
    again = read_letter(dead()).request("flights.requests")
    assert dict(again.headers)["penstock-replayed"]
    replayed = read_ending(dead(more=(("penstock-replayed", b"x"),)))
    answered = read_ending(made(more=(("penstock-replayed", b"x"),)))
    assert replayed is not None
    assert answered is not None
    assert replayed.replayed
    assert answered.replayed


@pytest.mark.parametrize(
    "record",
    [
        made(identity=b""),
        made(identity=b"\xff"),
        made(value=None),
        Record(LETTERS, 0, 0, None, b"x", (("ce_id", b"id-1"),)),
        Record(Partition("flights.requests", 0), 0, 0, None, b"x", (("ce_id", b"id-1"),)),
    ],
)
def test_what_is_no_ending_is_left_behind(record: Record) -> None:
    assert read_ending(record) is None


names = st.sampled_from(["ce_id", "CE_ID", "penstock-reason", "penstock-field", "penstock-failed-at", "content-type", "x"])


@given(
    st.sampled_from([MADE, LETTERS]),
    st.one_of(st.none(), st.binary(max_size=8)),
    st.lists(st.tuples(names, st.binary(max_size=12)), max_size=8),
)
def test_no_record_makes_reading_raise(place: Partition, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    read_ending(Record(place, 0, -1, None, value, tuple(headers)))


def test_the_newest_of_one_id_in_a_batch_is_what_the_rule_says() -> None:
    machine = SinkMachine(SinkLimits())
    machine.handle(ev.Assigned((MADE, LETTERS)), 0.0)
    [write] = machine.handle(ev.Polled([dead(), made(more=(("penstock-replayed", b"x"),)), made(1)]), 0.0)
    assert isinstance(write, fx.Write)
    assert [(ending.id, ending.state, ending.replayed) for ending in write.endings] == [("id-1", State.SUCCEEDED, True)]
    effects = machine.handle(ev.Written(1, 0), 0.0)
    assert [effect.offsets for effect in effects if isinstance(effect, fx.Commit)] == [{MADE: 2, LETTERS: 1}]
    assert (machine.ended, machine.repeated, machine.unknown) == (1, 2, 0)


def test_a_group_is_one_databases() -> None:
    def group(database: str) -> str:
        return SinkSettings(database=database, kafka_bootstrap="k:9092").group

    assert group("postgresql://ann:secret@db:5432/penstock") == group("postgresql://bob@db/penstock")
    assert group("postgresql://db/penstock") != group("postgresql://db/other")
    assert SinkSettings(database="postgresql://db/x", kafka_bootstrap="k", models=("a",)).topics == [
        "a.predictions",
        "a.dead-letters",
    ]
