"""More than can be carried: who is refused, when they are told to come back, and that nobody is refused for ever.

The simulations run the queue and its rate on a clock of their own: seconds of overload in milliseconds, the same every time.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.batcher import BatchPolicy, DeadlineQueue, Pressure
from penstock.batcher.queue import HEADROOM, STARVED_AFTER
from penstock.batcher.rate import ServiceRate
from penstock.errors import DeadlineExceeded, Overloaded
from penstock.testing.batching import Gate, answered, batcher_of, run_within


class Server:
    """A queue and what works it off, on a clock of its own. A run of n works takes `run_s(n)`."""

    def __init__(self, run_s: Callable[[int], float], **policy: Any) -> None:
        self.policy = BatchPolicy(**policy)
        self.rate = ServiceRate(self.policy.max_rows)
        self.queue: DeadlineQueue[Any] = DeadlineQueue(self.policy, self.rate)
        self.run_s = run_s
        self.now = 0.0
        self.running: tuple[float, float, list[Any]] | None = None
        self.answers: list[tuple[Any, float]] = []
        self.expired: list[Any] = []

    def push(self, work: Any) -> Any:
        refusal = self.queue.push(work, self.now)
        self._begin()
        return refusal

    def advance(self, until: float) -> None:
        """Let time pass, with whatever ends and begins in it."""
        while self.running is not None and self.running[1] <= until:
            began, self.now, works = self.running
            self.running = None
            self.rate.finished(len(works), self.now, idle=not self.queue, began=began)
            self.answers += [(work, self.now) for work in works]
            self._begin()
        self.now = until

    def _begin(self) -> None:
        if self.running is None and self.queue:
            batch = self.queue.take(self.now)
            self.expired += [work for work, _ in batch.dropped]
            if not batch.works:
                self.rate.rest()
            else:
                self.rate.started(self.now, len(batch.works) if self.queue else 0)
                self.running = self.now, self.now + self.run_s(len(batch.works)), batch.works


def offer(server: Server, item: Any, rate: float, seconds: float, deadline_s: float | None, priority: int = 0) -> list[Any]:
    """An open loop with exponential gaps; what was refused, as (work, error)."""
    draw, refused = random.Random(7), []
    at, end = server.now, server.now + seconds
    while (at := at + draw.expovariate(rate)) < end:
        server.advance(at)
        work = item(deadline=None if deadline_s is None else at + deadline_s, priority=priority, payload=at)
        if (refusal := server.push(work)) is not None:
            refused.append((work, refusal))
    server.advance(end + 10.0)
    return refused


RUNS: dict[str, Callable[[int], float]] = {
    "a cost for each row": lambda n: 0.002 * n,
    "a cost for each run": lambda n: 0.010,
    "both": lambda n: 0.002 + 0.0003 * n,
}


@pytest.mark.parametrize("run_s", RUNS.values(), ids=RUNS.keys())
@pytest.mark.parametrize("times", [0.9, 2.0, 3.0])
def test_goodput_stays_and_answers_are_in_time(item: Any, run_s: Callable[[int], float], times: float) -> None:
    server = Server(run_s, max_rows=32)
    carried = 32 / run_s(32)
    refused = offer(server, item, times * carried, 10.0, 0.25)
    good = sum(when <= work.context.deadline for work, when in server.answers)
    assert good >= 0.9 * min(1.0, times) * carried * 10.0
    # Once the first runs have been measured nobody is served in vain, or left to wait for nothing.
    late = [work for work, when in server.answers if when > work.context.deadline]
    assert len(late) + len(server.expired) <= 0.01 * good + 2 * 32
    assert all(work.payload < 1.0 for work in (*late, *server.expired))
    assert all(type(error) is Overloaded for _, error in refused)
    assert bool(refused) == (times > 1)


def test_without_deadlines_the_queue_is_bounded_and_the_speed_stays(item: Any) -> None:
    server = Server(RUNS["both"], max_rows=32, max_queue_items=100)
    carried = 32 / RUNS["both"](32)
    refused = offer(server, item, 3 * carried, 5.0, None)
    assert len(server.answers) >= 0.95 * carried * 5.0
    assert refused


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(RUNS.values())),
    st.floats(1.2, 5.0),
    st.sampled_from([0.05, 0.1, 0.5]),
    st.sampled_from([0, 0, 1, -1]),
    st.integers(8, 64),
)
def test_waiting_as_long_as_told_works(
    item: Any, run_s: Callable[[int], float], times: float, deadline_s: float, priority: int, rows: int
) -> None:
    """Whoever was refused last and comes back after `Retry-After`, when the others have stopped, is answered in time."""
    server = Server(run_s, max_rows=rows, max_queue_items=200)
    draw = random.Random(3)
    at, refusal = 0.0, None
    carried = rows / run_s(rows)
    while refusal is None or at < 1.0:
        at += draw.expovariate(times * carried)
        if at > 30.0:
            return  # everything found its place: nothing to come back from
        server.advance(at)
        refusal = server.push(item(deadline=at + deadline_s, priority=priority)) or (refusal if at < 1.0 else None)
    if run_s(rows) > HEADROOM * deadline_s:
        return  # not even an empty queue makes this deadline with a full run: only an idle server takes it
    assert isinstance(refusal, Overloaded)
    server.advance(at + refusal.retry_after_s)
    back = item(deadline=server.now + deadline_s, priority=priority)
    assert server.push(back) is None
    server.advance(server.now + 60.0)
    assert [when <= work.context.deadline for work, when in server.answers if work is back] == [True]


def test_a_full_queue_says_when_it_will_have_room(item: Any) -> None:
    server = Server(lambda n: 0.01 * n, max_rows=4, max_queue_items=20)
    for _ in range(40):
        server.push(item())
    server.advance(0.1)
    while (refusal := server.push(item())) is None:
        pass
    assert isinstance(refusal, Overloaded)
    assert refusal.retry_after_s == pytest.approx(0.2, rel=0.3)
    server.advance(server.now + refusal.retry_after_s)
    assert all(server.push(item()) is None for _ in range(16))


def test_an_idle_server_takes_anything_that_has_time_left(item: Any) -> None:
    """However slow it was when it was last measured: else one slow minute would lock everybody out."""
    server = Server(lambda n: 5.0, max_rows=4)
    server.push(item())
    server.advance(1.0)
    assert isinstance(server.push(item(deadline=1.1)), type(None)), "nothing has been measured yet"
    server.advance(20.0)
    server.push(item())
    assert isinstance(server.push(item(deadline=20.1)), Overloaded), "a run of five seconds is under way"
    server.advance(40.0)
    assert server.push(item(deadline=40.1)) is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(1, 12)), min_size=1, max_size=40),
    st.sampled_from([-1, 0]),
    st.integers(1, 8),
    st.booleans(),
)
def test_no_class_starves(item: Any, others: list[tuple[int, int]], flood: int, rows: int, same_key: bool) -> None:
    """Under an endless flood of a higher class, a waiting class gets a run in every eight, or a share of one."""
    queue: DeadlineQueue[Any] = DeadlineQueue(BatchPolicy(max_rows=rows, max_queue_items=10_000), ServiceRate())
    low = item(priority=1, key="low")
    queue.push(low, 0.0)
    waited = 0
    for priority, count in others * 20:
        for _ in range(max(count, rows)):
            queue.push(item(priority=min(flood, priority), key="low" if same_key else "flood"), 0.0)
        batch = queue.take(1.0)
        waited += 1
        if low in batch.works:
            break
    assert waited <= STARVED_AFTER + 2 or waited < len(others * 20)
    assert waited <= STARVED_AFTER + 2


def test_a_higher_class_goes_first_as_long_as_nobody_starves(item: Any) -> None:
    queue: DeadlineQueue[Any] = DeadlineQueue(BatchPolicy(max_rows=1), ServiceRate())
    for _ in range(30):
        for priority in (1, 0, -1):
            queue.push(item(priority=priority), 0.0)
    order = [queue.take(1.0).works[0].context.priority for _ in range(32)]
    assert order.count(-1) >= 24
    assert order.count(0) >= 3
    assert order.count(1) >= 3


def test_background_works_leave_half_of_the_queue_to_others(item: Any) -> None:
    queue: DeadlineQueue[Any] = DeadlineQueue(BatchPolicy(max_queue_items=5), ServiceRate())
    assert [queue.push(item(priority=1), 0.0) is None for _ in range(4)] == [True, True, True, False]
    assert isinstance(queue.refusal(item(priority=9).context, 0.0), Overloaded)
    assert [queue.push(item(), 0.0) is None for _ in range(3)] == [True, True, False]


def test_who_is_ahead_counts_by_class(item: Any) -> None:
    """A long queue of background works keeps nobody else out, and one of urgent works keeps nobody out for ever."""
    server = Server(lambda n: 0.010, max_rows=1, max_queue_items=1000)
    for _ in range(20):
        server.push(item(priority=1))
    server.advance(0.05)
    assert isinstance(server.push(item(priority=1, deadline=server.now + 0.1)), Overloaded)
    assert server.push(item(deadline=server.now + 0.1)) is None
    for _ in range(100):
        server.push(item(priority=-1))
    assert isinstance(server.push(item(priority=-1, deadline=server.now + 0.2)), Overloaded)
    assert server.push(item(deadline=server.now + 0.4)) is None, "its class has its share, whatever waits in the one before it"


def test_what_would_be_refused_is_known_before_it_is_decoded(item: Any) -> None:
    server = Server(lambda n: 0.010, max_rows=1, max_queue_items=30)
    for _ in range(20):
        server.push(item())
    server.advance(0.05)
    for deadline in (None, server.now - 1, server.now + 0.05, server.now + 10.0):
        for priority in (-1, 0, 1):
            work = item(deadline=deadline, priority=priority)
            before = server.queue.refusal(work.context, server.now)
            after = server.queue.push(work, server.now)
            assert type(before) is type(after)
            assert str(before) == str(after)
    assert isinstance(server.queue.refusal(item(deadline=0.0).context, 1.0), DeadlineExceeded)


def test_pressure_is_on_while_works_are_refused_and_off_when_half_of_them_are_gone(item: Any) -> None:
    async def main() -> None:
        gate, pressure = Gate(), Pressure()
        batcher = batcher_of("thread", gate.compute, max_rows=1, max_queue_items=4)
        batcher.pressure = pressure
        batcher.submit(item())
        await gate.entered.wait()
        works = [item() for _ in range(4)]
        for work in works:
            batcher.submit(work)
        assert pressure.batchers == 0
        refused = item()
        told = answered(refused)
        batcher.submit(refused)
        batcher.submit(item())
        assert pressure.batchers == 1
        assert isinstance(batcher.refusal(item().context), Overloaded)
        await told.wait()
        turns = pressure.turns
        gate.open.set()
        await batcher.drain()
        assert pressure.batchers == 0
        assert pressure.turns > turns, "whoever keeps a refusal must see that the queue has moved"
        assert batcher.refusal(item().context) is None
        await asyncio.sleep(0)
        batcher.close()

    run_within(main())


def test_a_queue_that_was_emptied_by_leavers_is_idle_again(item: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or everybody would be refused from then on: behind a run that is long over, by a pace that counts the idle time."""
    clock = [1000.0]
    monkeypatch.setattr("penstock.batcher.batcher._monotonic", lambda: clock[0])

    async def main() -> None:
        gate = Gate()
        batcher = batcher_of("thread", gate.compute, max_rows=1, max_queue_items=3)
        batcher.submit(item())
        await gate.entered.wait()
        leaving = [item() for _ in range(4)]  # one too many: there is pressure
        for work in leaving:
            batcher.submit(work)
            work.disconnected = True
        clock[0] += 1.0
        gate.open.set()
        await batcher.drain()
        batcher._draining = False
        assert batcher.pressure.batchers == 0
        clock[0] += 100.0
        assert batcher.refusal(item(deadline=clock[0] + 0.1).context) is None
        back = item(payload=1, deadline=clock[0] + 0.1)
        batcher.submit(back)
        await batcher.drain()
        assert back.answer == 1
        assert batcher._rate.interval_s <= 1.0
        batcher.close()

    run_within(main())
