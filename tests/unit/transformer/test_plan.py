"""The fetch plan: what callers bring, what is read by which keys, and specs that cannot be carried out."""

import asyncio
from dataclasses import replace

import pytest

from penstock.errors import InvalidInput
from penstock.features.reading import read_spec
from penstock.features.spec import StoreLayout, ViewLayout
from penstock_transformer.counters import Counters
from penstock_transformer.memory_store import MemoryStore
from penstock_transformer.plan import plan_of
from penstock_transformer.store.port import RowWrite


def test_a_plan(features):
    plan = plan_of(read_spec(features))
    assert plan.accepted == {"distance", "tailnum", "trip_id"}
    assert plan.record is not None
    assert [s.name for s in plan.others] == ["planes"]
    assert set(plan.fills) == {"distance", "tailnum"}
    assert plan.stored_names == {"seats": "planes.seats", "weight": "planes.weight"}
    assert plan.others[0].limits == ((864000.0, ("seats", "weight")),)
    assert not plan.degradable
    assert not plan.heavy


def test_no_sets_no_layout():
    feature = "{name: a, from: request, type: float32, missing: keep, encode: passthrough}"
    text = f"formatVersion: 1\nfeatures:\n  - {feature}\ntensors: {{x: [a]}}\n"
    plan = plan_of(read_spec(text))
    assert plan.layout is None
    assert plan.degradable


@pytest.mark.parametrize(
    ("store", "field"),
    [
        (None, "sets.trips"),
        (StoreLayout("p", 3, {}), "sets.trips"),
        (StoreLayout("p", 3, {"trips": ViewLayout({"id": "int64"}, {})}), "sets.trips.keys"),
        (
            StoreLayout("p", 3, {"trips": ViewLayout({"trip_id": "int64"}, {}), "planes": ViewLayout({"tailnum": "string"}, {})}),
            "seats",
        ),
        (
            StoreLayout(
                "p",
                3,
                {"trips": ViewLayout({"trip_id": "int64"}, {}), "planes": ViewLayout({"tailnum": "string"}, {"seats": "string"})},
            ),
            "seats",
        ),
    ],
)
def test_specs_that_cannot_be_carried_out(features, store, field):
    with pytest.raises(InvalidInput) as caught:
        plan_of(replace(read_spec(features), store=store))
    assert caught.value.field == field


def test_the_store_in_memory_keeps_the_newest(features):
    async def go():
        layout = read_spec(features).store
        store = MemoryStore(layout)
        rows = [RowWrite("planes", ("N1",), {"seats": n}, t) for n, t in ((1, 10.0), (2, 10.0), (3, 5.0), (4, 11.0))]
        assert await store.write(rows) == [True, False, False, True]
        assert await store.scan("planes", None, 10) == ([("N1",)], None)
        assert await store.delete("planes", [("N1",), ("N2",)]) == 1

    asyncio.run(go())


def test_counters_are_exported():
    counters = Counters()
    counters.degraded += 3
    samples = {s.name: s.value for family in counters.families() for s in family.samples}
    assert samples["penstock_transformer_degraded_total"] == 3
    assert samples["penstock_transformer_route_revision"] == 0
