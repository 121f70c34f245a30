"""One caller's fault is never another's: keys that the store refuses, and faults that nobody foresaw."""

import math

import pytest

from penstock.errors import Internal, InvalidInput
from penstock.testing.bundles import bundle_files

ROW = {"distance": 10.0, "tailnum": "N1"}
HOURLY = """
formatVersion: 1
sets:
  weather: {view: weather, keys: {hour: hour}}
features:
  - {name: wind, from: weather.wind, type: float32, missing: {default: 1.0}, encode: passthrough}
tensors: {x: [wind]}
store:
  project: test
  keySerialization: 3
  views: {weather: {keys: {hour: unix_timestamp}, values: {wind: double}}}
"""


@pytest.mark.parametrize("hour", [1.5, math.inf, -math.inf, math.nan, 1e300, 2**63, -(2**63) - 1, "now"])
def test_a_time_that_is_no_key_fails_its_caller_alone(bench, run, hour):
    async def go():
        async with bench(bundle_files(HOURLY)) as b:
            await b.put("weather", 3600, wind=5.0)
            before, bad, after = b.send([{"hour": 3600}]), b.send([{"hour": 3600}, {"hour": hour}]), b.send([{"hour": 3600.0}])
            with pytest.raises(InvalidInput) as caught:
                await bad.future
            assert caught.value.field == "rows[1].hour"
            assert [(await sent.future).predictions[0]["value"] for sent in (before, after)] == [5.0, 5.0]

    run(go())


def test_a_key_that_the_store_refuses_fails_its_caller_alone(bench, run):
    async def go():
        async with bench() as b:
            read = b.store.read

            async def picky(reads):
                if any(("bad",) in one.keys for one in reads):
                    raise InvalidInput("expected a key of type string", field="keys[0].tailnum")
                return await read(reads)

            b.store.read = picky
            before, bad, after = b.send([ROW]), b.send([{**ROW, "tailnum": "bad"}]), b.send([ROW])
            with pytest.raises(InvalidInput) as caught:
                await bad.future
            assert "tailnum" in caught.value.field
            assert [(await sent.future).predictions[0]["value"] for sent in (before, after)] == [162.5, 162.5]

    run(go())


@pytest.mark.parametrize("method", ["begin", "resolve", "checked", "answer"])
def test_an_unforeseen_fault_is_pinned_on_its_caller(bench, run, method, monkeypatch, caplog):
    from penstock_transformer.group import Group

    real = getattr(Group, method)

    def broken(group, *given):
        if any(row["distance"] == 13 for part in group.parts for row in part):
            raise RuntimeError("nobody thought of this")
        return real(group, *given)

    monkeypatch.setattr(Group, method, broken)

    async def go():
        async with bench() as b:
            sent = [b.send([{**ROW, "distance": float(d)}]) for d in (12, 13, 14)]
            with pytest.raises(Internal) as caught:
                await sent[1].future
            assert "nobody" not in caught.value.message
            assert [(await sent[at].future).predictions[0]["value"] for at in (0, 2)] == [164.5, 166.5]
            assert "nobody thought of this" in caplog.text

    run(go())


def test_a_fault_in_the_store_reader_is_internal_and_logged(bench, run, caplog):
    async def go():
        async with bench() as b:

            async def broken(_reads):
                raise RuntimeError("nobody thought of this")

            b.store.read = broken
            await b.fails(Internal, [ROW])
            assert "nobody thought of this" in caplog.text

    run(go())
