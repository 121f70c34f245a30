"""Updates into a store: one answer for each, nothing lost while the store is away, one bad row spoils no other."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from penstock.errors import InvalidInput, Overloaded, PenstockError, UpstreamUnavailable
from penstock.features.spec import ViewLayout
from penstock_transformer.broker.port import TooLargeForTopic
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.store.port import RowWrite
from penstock_transformer.updates.letters_only import LettersOnly
from penstock_transformer.updates.update import UpdateReader
from penstock_transformer.updates.updating import NOTHING, FeatureSet, StoreUpdating
from penstock_transformer.worker.dead_letters import DeadLetters, read_letter
from penstock_transformer.worker.outcomes import Answered, Away, Outcome, Refused

TOPIC = "planes.updates"
LAYOUT = ViewLayout({"tailnum": "string"}, {"seats": "int64"}, None)


class Store:
    """The newest value of each key. `errors` are raised by the next writes; a row of `poison` spoils its whole write."""

    def __init__(self, *errors: Exception, poison: str = "") -> None:
        self.errors = list(errors)
        self.poison = poison
        self.rows: dict[tuple[Any, ...], RowWrite] = {}
        self.writes: list[int] = []

    async def write(self, rows: Sequence[RowWrite]) -> list[bool]:
        await asyncio.sleep(0)
        self.writes.append(len(rows))
        if self.errors:
            raise self.errors.pop(0)
        if any(row.key == (self.poison,) for row in rows):
            raise InvalidInput("cannot be stored", field="keys.tailnum")
        written = []
        for row in rows:
            held = self.rows.get(row.key)
            written.append(held is None or held.event_time < row.event_time)
            if written[-1]:
                self.rows[row.key] = row
        return written


def record(offset: int, key: str, seats: Any, event_time: float | None = None) -> Record:
    value = orjson.dumps({"keys": {"tailnum": key}, "values": {"seats": seats}, "event_time": event_time})
    return Record(Partition(TOPIC, 0), offset, 1_700_000_000_000, None, value)


def updated(store: Any, records: Sequence[Record], batch_rows: int = 3) -> tuple[dict[int, Outcome], StoreUpdating]:
    async def run() -> tuple[dict[int, Outcome], StoreUpdating]:
        sets = {TOPIC: FeatureSet(UpdateReader("planes", LAYOUT, 3), DeadLetters(f"{TOPIC}.dead-letters", timed=True))}
        updating = StoreUpdating(sets, store, batch_rows=batch_rows)
        outcomes: dict[int, Outcome] = {}

        def done(record: Record, outcome: Outcome) -> None:
            assert record.offset not in outcomes
            outcomes[record.offset] = outcome

        updating.submit(records, done)
        await updating.close()
        return outcomes, updating

    return asyncio.run(run())


def test_each_is_answered_in_batches_with_nothing_to_produce() -> None:
    store = Store()
    outcomes, updating = updated(store, [record(at, f"N{at}", at, 10.0) for at in range(7)])
    assert all(isinstance(outcome, Answered) and outcome.record is NOTHING for outcome in outcomes.values())
    assert store.writes == [3, 3, 1]
    assert (len(outcomes), updating.written) == (7, 7)


def test_late_and_repeated_updates_change_nothing_and_are_counted() -> None:
    store = Store()
    _, updating = updated(store, [record(0, "N1", 1, 20.0), record(1, "N1", 2, 10.0), record(2, "N1", 1, 20.0)])
    assert store.rows[("N1",)].values == {"seats": 1}
    assert (updating.written, updating.unchanged) == (1, 2)


def test_a_bad_update_is_a_dead_letter_and_holds_nobody_up() -> None:
    store = Store()
    outcomes, _ = updated(store, [record(0, "N1", "many"), record(1, "N2", 2)])
    refused = outcomes[0]
    assert isinstance(refused, Refused)
    assert refused.record.topic == f"{TOPIC}.dead-letters"
    letter = read_letter(Record(Partition("d", 0), 0, 0, refused.record.key, refused.record.value, refused.record.headers))
    assert (letter.reason, letter.field, letter.position) == ("invalid_input", "values.seats", f"{TOPIC}/0/0")
    assert letter.value == record(0, "N1", "many").value
    assert isinstance(outcomes[1], Answered)


def test_a_replayed_update_is_as_of_when_it_was_first_sent() -> None:
    untimed, timed = record(0, "N1", "many"), replace(record(1, "N2", "many"), headers=(("ce_time", b"2020-01-01T00:00:00Z"),))
    outcomes, _ = updated(Store(), [untimed, timed])
    back = []
    for at in range(2):
        refused = outcomes[at]
        assert isinstance(refused, Refused)
        letter = read_letter(Record(Partition("d", 0), at, 1_800_000_000_000, None, b"", refused.record.headers))
        back.append([value for name, value in letter.request(TOPIC).headers if name == "ce_time"])
    assert back == [[b"2023-11-14T22:13:20.000Z"], [b"2020-01-01T00:00:00Z"]]


def test_a_row_that_the_store_refuses_is_found() -> None:
    outcomes, _ = updated(Store(poison="N1"), [record(at, f"N{at}", at) for at in range(3)])
    assert [type(outcomes[at]) for at in range(3)] == [Answered, Refused, Answered]


@pytest.mark.parametrize("error", [UpstreamUnavailable("away"), Overloaded("full")])
def test_a_store_that_is_away_gives_everything_back(error: PenstockError) -> None:
    store = Store(error)
    outcomes, _ = updated(store, [record(at, f"N{at}", at) for at in range(7)])
    assert all(isinstance(outcome, Away) for outcome in outcomes.values())
    assert (len(outcomes), store.writes) == (7, [3])


def test_a_fault_of_ours_costs_one_update_at_most() -> None:
    outcomes, _ = updated(Store(RuntimeError("bug")), [record(at, f"N{at}", at) for at in range(2)])
    assert [type(outcome) for outcome in outcomes.values()] == [Answered, Answered]
    outcomes, _ = updated(Store(RuntimeError("bug")), [record(0, "N1", 1)])
    refused = outcomes[0]
    assert isinstance(refused, Refused)
    assert refused.reason == "internal"


class Outlet:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.records: Sequence[OutRecord] = ()
        self.offsets: Any = None

    def open(self) -> None: ...

    def restore(self) -> None: ...

    def close(self) -> None: ...

    def commit(self, records: Sequence[OutRecord], offsets: Any, group: Any) -> None:
        self.records, self.offsets = records, offsets
        if self.error:
            raise self.error


LETTERS = [OutRecord("d", None, b"1"), OutRecord("d", None, b"2")]
ASKED = [NOTHING, LETTERS[0], NOTHING, NOTHING, LETTERS[1]]


def test_only_letters_are_produced_and_all_offsets_committed() -> None:
    outlet = Outlet()
    LettersOnly(outlet).commit(ASKED, {Partition("t", 0): 9}, None)
    assert (outlet.records, outlet.offsets) == (LETTERS, {Partition("t", 0): 9})


@pytest.mark.parametrize("at, place", [(0, 1), (1, 4), (None, None)])
def test_a_letter_that_is_too_large_is_named_by_its_own_place(at: int | None, place: int | None) -> None:
    with pytest.raises(TooLargeForTopic) as refused:
        LettersOnly(Outlet(TooLargeForTopic("large", at=at))).commit(ASKED, {}, None)
    assert refused.value.at == place


def test_the_only_letter_is_the_one_that_is_too_large() -> None:
    with pytest.raises(TooLargeForTopic) as refused:
        LettersOnly(Outlet(TooLargeForTopic("large"))).commit(ASKED[:3], {}, None)
    assert refused.value.at == 1
