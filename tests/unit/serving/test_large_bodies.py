"""Large bodies: one model does not hold the room of all, and who finds none is told when there will be some."""

import pytest

from penstock.batcher.rate import LONGEST_S, SHORTEST_S, UNMEASURED_S
from penstock.serving.release_rate import ReleaseRate
from penstock.testing.raw_http import raw_request

LARGE = b"x" * 100_000


def test_a_model_holds_three_quarters_of_the_room_where_there_are_others(run):
    async def body(bench):
        for model in ("slow", "fast"):
            bench.shell.metrics.model(model, "b")
        opened = [bench.connect() for _ in range(5)]
        for (protocol, _), model in zip(opened, ("slow", "slow", "slow", "slow", "fast"), strict=True):
            protocol.data_received(raw_request("POST", f"/hold/{model}", LARGE))
        assert [transport.statuses for _, transport in opened] == [[], [], [], [429], []]
        assert bench.shell.metrics.in_flight("slow").large_bytes == 300_000
        for exchange in bench.held:
            exchange.answer(200, b"{}")
        assert bench.shell.budget_bytes == 400_000
        assert bench.shell.metrics.in_flight("slow").large_bytes == bench.shell.metrics.in_flight("fast").large_bytes == 0
        assert bench.shell.released.total == 400_000

    run(body, bodies_bytes=400_000)


def test_a_model_alone_holds_all_of_it(run):
    async def body(bench):
        bench.shell.metrics.model("slow", "b")
        opened = [bench.connect() for _ in range(5)]
        for protocol, _ in opened:
            protocol.data_received(raw_request("POST", "/hold/slow", LARGE))
        assert [transport.statuses for _, transport in opened] == [[], [], [], [], [429]]

    run(body, bodies_bytes=400_000)


def test_who_finds_no_room_is_told_by_the_speed_of_the_last_seconds():
    rate = ReleaseRate()
    assert rate.wait_s(100, 1000.0) == UNMEASURED_S
    rate.total += 500
    assert rate.wait_s(100, 1000.1) == UNMEASURED_S, "too soon to say"
    rate.total += 500
    assert rate.wait_s(100, 1001.0) == pytest.approx(0.1)
    assert rate.wait_s(300, 1001.1) == pytest.approx(0.3), "measured a moment ago"
    assert rate.wait_s(1, 1001.1) == SHORTEST_S
    assert rate.wait_s(10**9, 1001.1) == LONGEST_S
    rate.total += 10**9
    assert rate.wait_s(100, 1100.0) == UNMEASURED_S, "an hour of peace says nothing about now"
