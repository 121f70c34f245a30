"""A predictor that is asked for more than it can carry: it says so at once, honestly, and goes on serving what it can."""

import asyncio
import time

import pytest

from penstock.testing.open_loop import OpenLoop
from penstock.testing.raw_http import RawConnection
from penstock.testing.waiting import until

QUEUE = 64


def connections(server, count):
    return [RawConnection(server.port, timeout_s=60) for _ in range(count)]


def close(opened):
    for each in opened:
        each.close()


def flood(server, opened, request):
    """Every connection sends; nobody waits for an answer yet."""
    for each in opened:
        each.send(request)


def test_three_times_too_much_is_answered_refused_and_never_lost(predictor, infer):
    request = infer("slow", Penstock_Timeout_Ms="300")

    async def run(rate, seconds):
        return await OpenLoop(predictor.port, request, rate, seconds, connections=400).run()

    # However fast the machine is: the rate grows until some are refused.
    rate = 500.0
    found = asyncio.run(run(rate, 1.0))
    while not found.count(429) and rate < 64_000:
        rate *= 2
        found = asyncio.run(run(rate, 1.0))
    assert found.count(429)
    assert found.count(200)
    assert found.lost == 0
    assert set(found.latencies_s) <= {200, 429, 504}
    assert len(found.retry_after_ms) == found.count(429)
    assert all(1 <= told <= 60_000 for told in found.retry_after_ms)
    with RawConnection(predictor.port) as connection:
        assert connection.send(infer("slow")).answer().status == 200


def test_who_waits_as_long_as_told_is_served(predictor, infer):
    opened = connections(predictor, QUEUE + 80)
    flood(predictor, opened, infer("slow", rows=16))
    answers = [each.answer() for each in opened]
    refused = [(each, answer) for each, answer in zip(opened, answers, strict=True) if answer.status == 429]
    assert refused
    assert {answer.status for answer in answers} == {200, 429}
    for _, answer in refused:
        assert int(answer.headers["retry-after"]) >= 1
        assert "queue is full" in answer.json()["error"]
    # As long as any of these was told, and no longer.
    time.sleep(max(int(answer.headers["retry-after-ms"]) for _, answer in refused[:20]) / 1e3)
    assert {each.send(infer("slow", rows=16)).answer().status for each, _ in refused[:20]} == {200}
    close(opened)


@pytest.mark.parametrize("timeout_ms", ["1", "20"])
def test_who_cannot_be_served_in_time_is_told_early(predictor, infer, counted, timeout_ms):
    """429 or 504, but never a run that nobody can use: not one of these is answered with a late 200 once the queue is long."""
    behind = connections(predictor, 40)
    flood(predictor, behind, infer("slow", rows=16))
    with RawConnection(predictor.port) as late:
        assert late.send(infer("slow", rows=16, Penstock_Timeout_Ms=timeout_ms)).answer().status in (429, 504)
    assert {each.answer().status for each in behind} == {200}
    close(behind)


def test_a_low_priority_still_moves_and_a_high_one_goes_first(predictor, infer):
    """Urgent requests without end: the background one is answered while they still come."""
    urgent = connections(predictor, 24)
    with RawConnection(predictor.port, timeout_s=60) as background:
        flood(predictor, urgent, infer("slow", rows=8, Penstock_Priority="-1"))
        background.send(infer("slow", rows=8, Penstock_Priority="5"))
        background.sock.settimeout(0.0)
        rounds = 0
        while True:
            for each in urgent:
                assert each.answer().status == 200
                each.send(infer("slow", rows=8, Penstock_Priority="-1"))
            rounds += 1
            try:
                background.sock.recv(1, 2)  # MSG_PEEK
                break
            except BlockingIOError:
                assert rounds < 200
        background.sock.settimeout(60)
        assert background.answer().status == 200
    for each in urgent:
        assert each.answer().status == 200
    close(urgent)


def test_callers_that_leave_take_their_requests_out_of_the_queue(predictor, infer, counted):
    until(lambda: not counted("penstock_in_flight", "slow"))
    before = counted("penstock_batched_requests_total", "slow")
    stay = connections(predictor, 10)
    flood(predictor, stay, infer("slow", rows=64))
    leaving = connections(predictor, 30)
    flood(predictor, leaving, infer("slow", rows=64))
    close(leaving)
    assert {each.answer().status for each in stay} == {200}
    until(lambda: not counted("penstock_in_flight", "slow"))
    run = counted("penstock_batched_requests_total", "slow") - before
    assert 10 <= run < 30
    close(stay)


def test_a_slow_model_takes_nothing_from_a_fast_one(predictor, infer, counted):
    """The slow one's queue is full and refuses; every request for the fast one is answered meanwhile."""
    request = infer("slow", rows=16, Penstock_Timeout_Ms="2000")

    async def run():
        loop = asyncio.get_running_loop()
        load = asyncio.ensure_future(OpenLoop(predictor.port, request, 1000, 3.0, connections=200).run())
        fast = await loop.run_in_executor(None, ask_fast)
        return fast, await load

    def ask_fast():
        statuses = []
        with RawConnection(predictor.port) as connection:
            until = time.monotonic() + 2.5
            while time.monotonic() < until:
                statuses.append(connection.send(infer("fast", Penstock_Timeout_Ms="1000")).answer().status)
        return statuses

    fast, slow = asyncio.run(run())
    assert set(fast) == {200}
    assert slow.count(429)
    assert slow.count(200)
