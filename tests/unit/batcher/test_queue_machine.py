"""The deadline-first queue against a plain list: every work leaves exactly once, the most urgent first, within the bounds.

No class of works that wait is passed over by more than `STARVED_AFTER` runs in a row, or one more where two are due.
"""

import math
from collections.abc import Hashable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.batcher import BatchPolicy, DeadlineQueue
from penstock.batcher.queue import STARVED_AFTER
from penstock.batcher.rate import ServiceRate
from penstock.dataplane import Context
from penstock.errors import Cancelled, DeadlineExceeded, Overloaded, PenstockError, TooLarge


class Item:
    def __init__(self, rows: int, nbytes: int, key: Hashable, context: Context) -> None:
        self.rows, self.nbytes, self.key, self.context = rows, nbytes, key, context
        self.disconnected = False
        self.arrived = 0.0

    def error(self, error: PenstockError) -> None:
        raise AssertionError("the queue answers nobody")


def class_of(item: Item) -> int:
    """-1 urgent, 0 normal, 1 background."""
    return (item.context.priority > 0) - (item.context.priority < 0)


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.waiting: list[Item] = []
        self.passed = {-1: 0, 0: 0, 1: 0}
        self.held_up = {-1: 0, 0: 0, 1: 0}
        self.gone: list[Item] = []

    @initialize(
        rows=st.integers(1, 6), items=st.integers(1, 16), nbytes=st.integers(8, 200), patience=st.sampled_from([0.5, 5.0])
    )
    def open(self, rows: int, items: int, nbytes: int, patience: float) -> None:
        self.policy = BatchPolicy(max_rows=rows, max_queue_items=items, max_queue_bytes=nbytes, patience_s=patience)
        self.queue: DeadlineQueue[Item] = DeadlineQueue(self.policy, ServiceRate())

    def urgency(self, item: Item) -> tuple[int, float]:
        deadline = item.context.deadline
        return class_of(item), item.arrived + self.policy.patience_s if deadline is None else deadline

    def by_urgency(self) -> list[Item]:
        return sorted(self.waiting, key=self.urgency)  # stable: arrival decides

    def dead(self, item: Item) -> type[PenstockError] | None:
        if (item.context.deadline or math.inf) <= self.now:
            return DeadlineExceeded
        return Cancelled if item.disconnected else None

    def leave(self, item: Item) -> None:
        self.waiting.remove(item)
        assert item not in self.gone
        self.gone.append(item)

    @rule(
        several=st.lists(
            st.tuples(
                st.sampled_from([1, 1, 1, 2, 3, 0, 8]),
                st.integers(0, 12),
                st.sampled_from(["a", "b", "a", "b", None]),
                st.sampled_from([None, None, None, 0, 1, 2, 8, -1]),
                st.sampled_from([0, 0, 0, 0, 1, -1]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def push_several(self, several: list[tuple[int, int, Hashable, int | None, int]]) -> None:
        for one in several:
            self.push(*one)

    def push(self, rows: int, nbytes: int, key: Hashable, deadline: int | None, priority: int) -> None:
        due = None if deadline is None else self.now + deadline
        item = Item(rows, nbytes, key, Context("r", deadline=due, priority=priority))
        item.arrived = self.now
        room = len(self.waiting) < self.policy.max_queue_items
        if priority > 0:
            background = sum(class_of(other) == 1 for other in self.waiting)
            room = room and background < (self.policy.max_queue_items + 1) // 2
        room = room and sum(other.nbytes for other in self.waiting) + nbytes <= self.policy.max_queue_bytes
        refusal = self.queue.push(item, self.now)
        if deadline is not None and deadline <= 0:
            assert isinstance(refusal, DeadlineExceeded)
        elif nbytes > self.policy.max_queue_bytes:
            assert isinstance(refusal, TooLarge)
        elif not room:
            assert isinstance(refusal, Overloaded)
            assert refusal.retry_after_s > 0
        else:
            assert refusal is None
            self.waiting.append(item)

    @rule(halves=st.integers(0, 4))
    def wait(self, halves: int) -> None:
        """In half seconds, so that deadlines are met to the instant too."""
        self.now += halves / 2

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def caller_leaves(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.waiting)).disconnected = True

    @rule(times=st.integers(1, 4))
    def take_several(self, times: int) -> None:
        for _ in range(times):
            self.take()

    def take(self) -> None:
        order = self.by_urgency()
        live = [item for item in order if self.dead(item) is None]
        batch = self.queue.take(self.now)
        assert bool(batch.works) == bool(live)
        assert batch.rows == sum(item.rows for item in batch.works)
        assert batch.arrivals == [item.arrived for item in batch.works]
        if live:
            first = class_of(batch.works[0])
            if first != class_of(live[0]):
                assert self.passed[first] >= STARVED_AFTER, "only a starved class goes before its turn"
                live = [item for item in live if class_of(item) == first] + [item for item in live if class_of(item) != first]
            key = live[0].key
            company = live[:1] if key is None else [item for item in live if item.key == key]
            assert batch.works == company[: len(batch.works)], "most urgent first, nobody of the key passed over"
            assert len(batch.works) == 1 or batch.rows <= self.policy.max_rows
            left = company[len(batch.works) :]
            assert not left or batch.rows + left[0].rows > self.policy.max_rows or batch.rows >= self.policy.max_rows
        self.count_passed(live, batch.works)
        for item in batch.works:
            self.leave(item)
        self.check_dropped(batch.dropped)

    def count_passed(self, live: list[Item], taken: list[Item]) -> None:
        for each in self.passed:
            served = any(class_of(item) == each for item in taken)
            self.passed[each] = 0 if served else self.passed[each] + 1
            waits = not served and any(class_of(item) == each for item in live)
            self.held_up[each] = self.held_up[each] + 1 if waits else 0
            # Two classes may be due at once: then one of them waits for one run more.
            assert self.held_up[each] <= STARVED_AFTER + 1

    @rule()
    def expire(self) -> None:
        self.check_dropped(self.queue.expire(self.now))
        assert not any(self.dead(item) for item in self.waiting)

    def check_dropped(self, dropped: list[tuple[Item, PenstockError]]) -> None:
        for item, error in dropped:
            assert type(error) is self.dead(item)
            self.leave(item)

    @precondition(lambda self: len(self.waiting) > 8)
    @rule()
    def clear(self) -> None:
        order = self.by_urgency()
        assert self.queue.clear() == order
        for item in order:
            self.leave(item)

    @precondition(lambda self: hasattr(self, "queue"))
    @invariant()
    def counts_are_right_and_within_bounds(self) -> None:
        queue, waiting = self.queue, self.waiting
        assert len(queue) == len(waiting) <= self.policy.max_queue_items
        assert queue.nbytes == sum(item.nbytes for item in waiting) <= self.policy.max_queue_bytes
        assert queue.rows == sum(item.rows for item in waiting)
        deadlines = [item.context.deadline for item in waiting if item.context.deadline is not None]
        assert queue.dated == len(deadlines)
        assert queue.next_deadline() == min(deadlines, default=None)
        assert queue.oldest_arrival() == min((item.arrived for item in waiting), default=None)

    def teardown(self) -> None:
        """Whatever happened, the queue can be emptied, and then it holds nothing."""
        if hasattr(self, "queue"):
            while len(self.queue):
                self.take()
            assert (len(self.queue), self.queue.nbytes, self.queue.rows, self.queue.dated) == (0, 0, 0, 0)
            assert not self.waiting


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
