"""The shell over an intake and an outlet in memory: what the machine asks for is carried out, what happens is told in order."""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from penstock_transformer.backoff import Backoff
from penstock_transformer.broker.port import Assignment, BrokerError, Fenced, InDoubt, Retriable
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.simulation.predictor import SimLetters, prediction
from penstock_transformer.worker.outcomes import Answered, Away
from penstock_transformer.worker.policy import Policy
from penstock_transformer.worker.shell import WorkerShell

A, B = Partition("m.requests", 0), Partition("m.requests", 1)
DEADLINE_S = 20


class MemoryIntake:
    """`steps` are what its polls do, one a poll; then it waits to be woken."""

    def __init__(self, *steps: Callable[["MemoryIntake"], list[Record]]) -> None:
        self.steps = deque(steps)
        self.assignment: Assignment
        self.log: list[tuple[str, Any]] = []
        self.offsets: dict[Partition, int | None] = {}
        self.asked = self.closed = 0
        self.generation = 1
        self._woken = threading.Event()

    def subscribe(self, topics: Sequence[str], assignment: Assignment) -> None:
        self.assignment = assignment

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        if self.steps:
            return self.steps.popleft()(self)
        self._woken.wait(timeout_s)
        self._woken.clear()
        return []

    def wake(self) -> None:
        self._woken.set()

    def pause(self, partitions: Sequence[Partition]) -> None:
        self.log.append(("pause", tuple(partitions)))

    def resume(self, partitions: Sequence[Partition]) -> None:
        self.log.append(("resume", tuple(partitions)))

    def seek(self, partition: Partition, offset: int) -> None:
        self.log.append(("seek", (partition, offset)))

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        self.asked += 1
        return {partition: self.offsets.get(partition) for partition in partitions}

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        raise NotImplementedError

    def group(self) -> Any:
        return self.generation

    def close(self) -> None:
        self.closed += 1


class MemoryOutlet:
    """`failures` are raised by the next commits; `held` keeps commits until it is set."""

    def __init__(self, *failures: BrokerError) -> None:
        self.failures = deque(failures)
        self.opening: deque[BrokerError] = deque()
        self.commits: list[tuple[list[OutRecord], dict[Partition, int], Any]] = []
        self.held: threading.Event | None = None
        self.began = threading.Event()
        self.restored = self.closed = 0

    def open(self) -> None:
        if self.opening:
            raise self.opening.popleft()

    def commit(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: Any) -> None:
        self.began.set()
        if self.held is not None:
            assert self.held.wait(DEADLINE_S)
        if self.failures:
            raise self.failures.popleft()
        self.commits.append((list(records), dict(offsets), group))

    def restore(self) -> None:
        self.restored += 1

    def close(self) -> None:
        self.closed += 1


class MemoryPredicting(SimLetters):
    """Answers at once; `away` is how often a record finds nobody first."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.seen: list[Record] = []

    def submit(self, records: Sequence[Record], done: Callable[[Record, Any], None]) -> None:
        for record in records:
            self.seen.append(record)
            if self.away:
                self.away -= 1
                done(record, Away("away"))
            else:
                done(record, Answered(prediction(record)))

    async def healthy(self) -> bool:
        return True


def assigned(*partitions: Partition) -> Callable[[MemoryIntake], list[Record]]:
    def step(intake: MemoryIntake) -> list[Record]:
        intake.assignment.assigned(partitions)
        return []

    return step


def brings(count: int, partition: Partition = A, first: int = 0) -> Callable[[MemoryIntake], list[Record]]:
    return lambda intake: [Record(partition, first + offset, 0, None, b"v") for offset in range(count)]


def fails(error: Exception) -> Callable[[MemoryIntake], list[Record]]:
    def step(intake: MemoryIntake) -> list[Record]:
        raise error

    return step


def play(
    intake: MemoryIntake,
    outlet: MemoryOutlet,
    case: Callable[[WorkerShell], Awaitable[None]],
    predicting: MemoryPredicting | None = None,
    patience_s: float = 300.0,
) -> None:
    async def go() -> None:
        async with asyncio.timeout(DEADLINE_S):
            policy = Policy(backoff=Backoff(0.001, 0.01))
            shell = WorkerShell(
                intake, outlet, predicting or MemoryPredicting(), ["m.requests"], policy=policy, patience_s=patience_s
            )
            await shell.start()
            try:
                await case(shell)
            finally:
                await shell.close()

    asyncio.run(go())
    assert (intake.closed, outlet.closed) == (1, 1)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens on other threads
        await asyncio.sleep(0.001)


def total(outlet: MemoryOutlet) -> int:
    return sum(len(records) for records, _, _ in outlet.commits)


def test_records_are_predicted_and_committed_by_the_group_of_the_moment() -> None:
    intake, outlet = MemoryIntake(assigned(A), brings(700)), MemoryOutlet()

    async def case(shell: WorkerShell) -> None:
        await until(lambda: total(outlet) == 700)
        assert shell.assigned
        assert outlet.commits[-1][1] == {A: 700}
        assert {group for _, _, group in outlet.commits} == {1}

    play(intake, outlet, case)


def test_the_outlet_is_opened_however_long_the_broker_is_away() -> None:
    intake, outlet = MemoryIntake(assigned(A), brings(1)), MemoryOutlet()
    outlet.opening.append(Retriable("away"))
    play(intake, outlet, lambda shell: until(lambda: outlet.commits))


def test_an_outlet_that_is_refused_ends_the_start() -> None:
    outlet = MemoryOutlet()
    outlet.opening.append(BrokerError("no right"))

    async def go() -> None:
        shell = WorkerShell(MemoryIntake(), outlet, MemoryPredicting(), ["m.requests"])
        with pytest.raises(BrokerError, match="no right"):
            await shell.start()
        await shell.close()

    asyncio.run(go())


def test_a_commit_that_does_not_come_back_ends_the_worker_and_says_where_it_stands(caplog: pytest.LogCaptureFixture) -> None:
    intake, outlet = MemoryIntake(assigned(A), brings(1)), MemoryOutlet()
    outlet.held = threading.Event()

    async def case(shell: WorkerShell) -> None:
        stop = await shell.stopped
        assert (stop.status, "did not come back" in stop.reason) == (1, True)
        assert outlet.held is not None
        outlet.held.set()

    play(intake, outlet, case, patience_s=0.05)
    (told,) = [record for record in caplog.records if record.message == "the outlet did not come back"]
    assert "in commit" in vars(told)["where"]


def test_commits_that_come_back_are_not_waited_for() -> None:
    intake, outlet = MemoryIntake(assigned(A), brings(1), brings(1, first=1)), MemoryOutlet(Retriable("once"))

    async def case(shell: WorkerShell) -> None:
        await until(lambda: total(outlet) == 2)
        await until(lambda: shell._patience is not None and shell._patience.cancelled())
        assert not shell.stopped.done()

    play(intake, outlet, case)


def test_a_lost_answer_is_asked_for_on_the_reading_thread() -> None:
    intake, outlet = MemoryIntake(assigned(A), brings(3)), MemoryOutlet(InDoubt("no answer"))
    intake.offsets[A] = 3

    async def case(shell: WorkerShell) -> None:
        await until(lambda: shell.machine.tally.predictions == 3)
        assert (outlet.restored, intake.asked, outlet.commits) == (1, 1, [])

    play(intake, outlet, case)


def test_an_error_without_a_name_is_taken_for_doubt(caplog: pytest.LogCaptureFixture) -> None:
    intake, outlet = MemoryIntake(assigned(A), brings(1)), MemoryOutlet(ZeroDivisionError())  # type: ignore[arg-type]

    async def case(shell: WorkerShell) -> None:
        await until(lambda: outlet.commits)
        assert intake.asked == 1

    play(intake, outlet, case)
    assert "no reason that has a name" in caplog.text


def test_a_fenced_worker_stops_with_a_status() -> None:
    async def case(shell: WorkerShell) -> None:
        assert (await shell.stopped).status == 1

    play(MemoryIntake(assigned(A), brings(1)), MemoryOutlet(Fenced("a newer one")), case)


@pytest.mark.parametrize("error", [BrokerError("no right"), Fenced("a newer member"), ZeroDivisionError()])
def test_reading_that_cannot_go_on_stops_with_a_status(error: Exception) -> None:
    async def case(shell: WorkerShell) -> None:
        assert (await shell.stopped).status == 1

    play(MemoryIntake(assigned(A), fails(error)), MemoryOutlet(), case)


def test_reading_goes_on_when_the_broker_comes_back() -> None:
    intake, outlet = MemoryIntake(assigned(A), fails(Retriable("away")), brings(1)), MemoryOutlet()
    play(intake, outlet, lambda shell: until(lambda: outlet.commits))


def test_what_finds_nobody_is_tried_again() -> None:
    intake, outlet, predicting = MemoryIntake(assigned(A), brings(2)), MemoryOutlet(), MemoryPredicting(away=3)
    play(intake, outlet, lambda shell: until(lambda: total(outlet) == 2), predicting)
    assert len(predicting.seen) == 5


def test_a_partition_is_given_up_only_when_the_commit_under_way_has_ended() -> None:
    outlet = MemoryOutlet()
    outlet.held = threading.Event()
    seen: list[int] = []

    def revoked(intake: MemoryIntake) -> list[Record]:
        assert outlet.began.wait(DEADLINE_S)
        letting = threading.Thread(target=intake.assignment.revoked, args=([A],))
        letting.start()
        letting.join(0.05)
        assert letting.is_alive()
        assert outlet.held is not None
        outlet.held.set()
        letting.join(DEADLINE_S)
        seen.append(total(outlet))
        return []

    intake = MemoryIntake(assigned(A), brings(1), revoked)
    play(intake, outlet, lambda shell: until(lambda: seen))
    assert seen == [1]


def test_records_of_a_partition_that_goes_and_comes_back_in_one_poll_are_read_again() -> None:
    def moved(intake: MemoryIntake) -> list[Record]:
        intake.assignment.revoked([A])
        intake.assignment.assigned([A])
        return [Record(A, 5, 0, None, b"v"), Record(B, 0, 0, None, b"v")]

    intake, outlet = MemoryIntake(assigned(A, B), moved, brings(6)), MemoryOutlet()
    intake.offsets[A] = 2

    async def case(shell: WorkerShell) -> None:
        await until(lambda: total(outlet) == 7)

    play(intake, outlet, case)
    assert ("seek", (A, 2)) in intake.log


def test_drained_in_order() -> None:
    intake, outlet = MemoryIntake(assigned(A), brings(5)), MemoryOutlet()

    async def case(shell: WorkerShell) -> None:
        await until(lambda: total(outlet) == 5)
        await shell.drain(5)
        assert shell.stopped.result().reason == "drained"

    play(intake, outlet, case)
