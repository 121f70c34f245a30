"""Large answers of the worker: put away before their record, predicted again when that fails, never answered twice."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from penstock.errors import Internal, TooLarge, UpstreamUnavailable
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.predictions.object_names import Kind, name_of, stated_bytes
from penstock_transformer.predictions.resource import Payload
from penstock_transformer.sink.reading import read_ending
from penstock_transformer.worker.large_answers import LargeAnswers
from penstock_transformer.worker.outcomes import Answered, Away, Outcome, Refused

BASE = "s3://bucket/prefix"
HEADERS = (("ce_id", b"id-1"), ("content-type", b"application/json"), ("penstock-bundle", b"m@1"))


class Store:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.bodies: dict[str, bytes] = {}

    async def put(self, prediction_id: str, kind: Kind, body: bytes) -> str:
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        reference = f"{BASE}/{name_of(prediction_id, kind, body, 0).key}"
        self.bodies[reference] = body
        return reference


class Pipeline:
    """Answers each record with its own value."""

    def submit(self, records: Sequence[Record], done: Callable[[Record, Outcome], None]) -> None:
        for record in records:
            done(record, Answered(OutRecord("m.predictions", record.key, record.value, HEADERS, 3)))

    def crashed(self, record: Record, attempts: int) -> OutRecord:
        raise AssertionError

    def too_large(self, record: Record, message: str) -> OutRecord:
        return OutRecord("m.dead-letters", record.key, record.value)

    async def healthy(self) -> bool:
        return True

    async def close(self) -> None: ...


def answered(store: Store, value: bytes, *, close: bool = False) -> Outcome:
    async def run() -> Outcome:
        answers = LargeAnswers(Pipeline(), store, 10)  # type: ignore[arg-type]
        found: list[Outcome] = []
        asked = Record(Partition("m.requests", 3), 0, 0, b"k", value, HEADERS)
        answers.submit([asked], lambda record, outcome: found.append(outcome))
        if close:
            await answers.close()
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(found) == 1
        return found[0]

    return asyncio.run(run())


def test_a_small_answer_stays_in_its_record() -> None:
    store = Store()
    outcome = answered(store, b"x" * 10)
    assert isinstance(outcome, Answered)
    assert (outcome.record.value, outcome.record.headers, store.bodies) == (b"x" * 10, HEADERS, {})


def test_a_large_one_is_put_away_and_the_sink_reads_its_reference() -> None:
    store = Store()
    outcome = answered(store, b"x" * 11)
    assert isinstance(outcome, Answered)
    record = outcome.record
    assert (record.value, record.key, record.partition) == (None, b"k", 3)
    ending = read_ending(Record(Partition("m.predictions", 3), 0, 5000, b"k", record.value, record.headers))
    assert ending is not None
    payload: Any = ending.payload
    assert isinstance(payload, Payload)
    assert (payload.body, payload.nbytes, payload.headers) == (None, 11, (("content-type", b"application/json"),))
    assert store.bodies[payload.reference or ""] == b"x" * 11
    assert (ending.id, ending.bundle) == ("id-1", "m@1")


@pytest.mark.parametrize("error", [UpstreamUnavailable("away"), Internal("odd"), RuntimeError("bug")])
def test_a_store_that_fails_has_the_record_predicted_again(error: Exception) -> None:
    assert isinstance(answered(Store(error), b"x" * 11), Away)


def test_an_answer_over_the_store_s_limit_is_a_dead_letter() -> None:
    outcome = answered(Store(TooLarge("large")), b"x" * 11)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "too_large"


def test_closing_answers_what_is_on_its_way() -> None:
    assert isinstance(answered(Store(), b"x" * 11, close=True), Away)


@pytest.mark.parametrize("text", ["", "x", "s3://a/b/c", "a/b/c/d/e"])
def test_a_reference_that_is_none_states_nothing(text: str) -> None:
    assert stated_bytes(text) == 0


def test_a_record_without_value_and_reference_is_no_ending() -> None:
    assert read_ending(Record(Partition("m.predictions", 3), 0, 5000, b"k", None, HEADERS)) is None
