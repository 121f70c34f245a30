"""The record: what `GET /predict/{id}` and a row that names one read of it, and what an unknown one means."""

import asyncio

import pytest

from penstock.errors import InvalidInput, NotFound
from penstock.testing.bundles import bundle_files

ROW = {"distance": 10.0, "tailnum": "N1"}


def test_record(bench, run):
    async def go():
        async with bench() as b:
            record, plain = await asyncio.gather(b.ask(record_id="7"), b.ask([ROW]))
            assert record.predictions[0]["value"] == 162.5
            assert record.record == {"trip_id": 7, "distance": 10.0, "tailnum": "N1", "note": "early"}
            assert plain.record is None
            assert set(record.predictions[0]["ages_s"]) == {"trips", "planes"}

    run(go())


def test_record_errors(bench, run):
    async def go():
        async with bench() as b:
            good, gone = b.send([ROW]), b.send(record_id="8")
            with pytest.raises(NotFound):
                await gone.future
            assert (await good.future).predictions[0]["value"] == 162.5
            assert (await b.fails(InvalidInput, record_id="x")).field == "record"

    run(go())


@pytest.mark.parametrize(
    ("row", "field", "text"),
    [
        ({"trip_id": 8}, "rows[1].trip_id", "there is no record 8"),
        ({"trip_id": 8, "tailnum": "N1"}, "rows[1].trip_id", "there is no record 8"),
        ({"trip_id": 8, "distance": 1.0}, "rows[1].trip_id", "there is no record 8"),
        ({"trip_id": 8, "distance": 1.0, "tailnum": "N0"}, "rows[1].weight", "no planes"),
        ({"trip_id": 7, "tailnum": "N0"}, "rows[1].weight", "no planes"),
        ({"tailnum": "N1"}, "rows[1].distance", "missing; expected a float32"),
    ],
)
def test_a_row_of_an_unknown_record_is_told_so(bench, run, row, field, text):
    async def go():
        async with bench() as b:
            before, bad = b.send([ROW]), b.send([{"trip_id": 7}, row])
            with pytest.raises(InvalidInput) as caught:
                await bad.future
            assert caught.value.field == field
            assert text in caught.value.message
            assert (await before.future).predictions[0]["value"] == 162.5

    run(go())


def test_an_unknown_record_does_no_harm_to_a_row_that_brings_all(bench, run):
    async def go():
        async with bench() as b:
            assert [p["value"] for p in (await b.ask([{**ROW, "trip_id": 8}, {"trip_id": 7}])).predictions] == [162.5, 162.5]
            assert (await b.ask([{**ROW, "trip_id": 8}])).predictions[0]["value"] == 162.5

    run(go())


def test_stored_features_of_an_unknown_record(bench, run, features):
    own = bundle_files(features.replace("from: planes.weight, type: float32", "from: trips.distance, type: float32"))

    async def go():
        async with bench(own) as b:
            error = await b.fails(InvalidInput, [{**ROW, "trip_id": 8}])
            assert (error.field, error.message) == ("rows[0].trip_id", "there is no record 8")
            error = await b.fails(InvalidInput, [ROW])
            assert error.field == "rows[0].weight"

    run(go())


def test_a_row_wins_over_its_record(bench, run):
    async def go():
        async with bench() as b:
            answer = await b.ask([{"trip_id": 7, "distance": 1.0}, {"trip_id": 7}])
            assert [p["value"] for p in answer.predictions] == [153.5, 162.5]
            assert len(b.store.reads) == 2

    run(go())
