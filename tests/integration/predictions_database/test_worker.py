"""The worker's machine and shell over the table: drained whole, killed between any two effects, each prediction one ending."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.failpoints import VARIABLE
from penstock.testing.waiting import until
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.port import Filter
from penstock_transformer.predictions.resource import ENDED, NewPrediction, Payload, State, new_id

WORKER = Path(__file__).parent / "queue_worker.py"
JSON = (("content-type", b"application/json"),)


def new(body: bytes = b"{}", **values: Any) -> NewPrediction:
    return NewPrediction(new_id(), "m", "ann", Payload(body, JSON, len(body)), 1, body, **values)


@contextmanager
def worker(url: str, failpoints: str = "", lease_s: float = 10.0) -> Iterator["subprocess.Popen[bytes]"]:
    environment = os.environ | ({VARIABLE: failpoints} if failpoints else {})
    process = subprocess.Popen([sys.executable, str(WORKER), url, str(lease_s)], env=environment, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def stopped(process: "subprocess.Popen[bytes]") -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(30)


async def submit_all(url: str, count: int) -> list[str]:
    predictions = open_predictions(url)
    await predictions.start()
    try:
        answers = await asyncio.gather(*(predictions.submit(new(b"%d" % i)) for i in range(count)))
        return [prediction.id for prediction, _ in answers]
    finally:
        await predictions.close()


async def wait_ended(predictions: Any, ids: list[str]) -> dict[str, Any]:
    """All of these, when they have ended."""

    async def one(prediction_id: str) -> Any:
        async with predictions.changes(prediction_id) as states:
            last = [state async for state in states][-1]
            assert last in ENDED
        return await predictions.get(prediction_id, None)

    async with asyncio.timeout(60):
        return dict(zip(ids, await asyncio.gather(*map(one, ids)), strict=True))


def ended_with(url: str, ids: list[str]) -> dict[str, Any]:
    async def go() -> dict[str, Any]:
        predictions = open_predictions(url)
        await predictions.start()
        try:
            return await wait_ended(predictions, ids)
        finally:
            await predictions.close()

    return asyncio.run(go())


@pytest.mark.parametrize("point", ["queue.claimed", "worker.predicted", "queue.written"])
def test_a_killed_worker_of_sqlite_is_followed_by_the_next_one(sqlite_url: str, point: str) -> None:
    ids = asyncio.run(submit_all(sqlite_url, 40))
    with worker(sqlite_url, f"{point}=kill") as first:
        assert first.wait(60) == -signal.SIGKILL
    before = asyncio.run(_states(sqlite_url))
    with worker(sqlite_url) as second:
        assert second.stdout is not None
        assert second.stdout.readline() == b"draining\n"
        # SQLite belongs to one process: what it did is looked at when it has gone. A drain ends what it has read.
        _until_read(sqlite_url, second)
        assert stopped(second) == 0
    found = ended_with(sqlite_url, ids)
    assert {one.state for one in found.values()} == {State.SUCCEEDED}
    for one in found.values():
        if before[one.id][0] is State.SUCCEEDED:
            assert before[one.id] == (one.state, one.ended_s)


def _until_read(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until nothing waits or is held any more, seen from beside: a reader of an SQLite file needs no leave."""
    connection = sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)
    try:
        count = "SELECT count(*) FROM penstock_intents"
        until(lambda: process.poll() is not None or not connection.execute(count).fetchone()[0], 60)
    finally:
        connection.close()


async def _states(url: str) -> dict[str, tuple[State, float | None]]:
    predictions = open_predictions(url)
    await predictions.start()
    try:
        page = await predictions.find(Filter(None), 1000, None)
        return {one.id: (one.state, one.ended_s) for one in page.predictions}
    finally:
        await predictions.close()


@pytest.mark.parametrize("point", ["queue.claimed", "worker.predicted", "queue.written"])
def test_a_killed_worker_of_postgres_is_followed_by_its_neighbour(postgres_url: str, point: str) -> None:
    async def go(first: "subprocess.Popen[bytes]") -> None:
        predictions = open_predictions(postgres_url)
        await predictions.start()
        try:
            answers = await asyncio.gather(*(predictions.submit(new(b"%d" % i)) for i in range(40)))
            ids = [prediction.id for prediction, _ in answers]
            assert await asyncio.to_thread(first.wait, 60) == -signal.SIGKILL
            with worker(postgres_url, lease_s=1.0) as second:
                found = await wait_ended(predictions, ids)
                more = [prediction.id for prediction, _ in [await predictions.submit(new()) for _ in range(5)]]
                found |= await wait_ended(predictions, more)
                assert await asyncio.to_thread(stopped, second) == 0
            assert {one.state for one in found.values()} == {State.SUCCEEDED}
            again = {one.id: one.ended_s for one in (await predictions.find(Filter(None), 100, None)).predictions}
            assert again == {one.id: one.ended_s for one in found.values()}
        finally:
            await predictions.close()

    async def opened() -> None:
        predictions = open_predictions(postgres_url)
        await predictions.start()
        await predictions.close()

    asyncio.run(opened())
    with worker(postgres_url, f"{point}=kill", lease_s=1.0) as first:
        asyncio.run(go(first))


def test_a_worker_that_hangs_loses_its_rows_and_changes_nothing_later(postgres_url: str) -> None:
    async def go() -> None:
        predictions = open_predictions(postgres_url)
        await predictions.start()
        try:
            with worker(postgres_url, "worker.predicted=pause", lease_s=1.0) as first:
                ids = [(await predictions.submit(new(b"%d" % i)))[0].id for i in range(5)]
                await asyncio.to_thread(until, lambda: _stopped_itself(first.pid), 60)
                with worker(postgres_url, lease_s=1.0) as second:
                    found = await wait_ended(predictions, ids)
                    assert {_maker(one) for one in found.values()} <= {second.pid, first.pid}
                    by_second = [one.id for one in found.values() if _maker(one) == second.pid]
                    assert by_second
                    first.send_signal(signal.SIGCONT)
                    assert await asyncio.to_thread(stopped, first) == 0
                    assert await asyncio.to_thread(stopped, second) == 0
                for prediction_id in by_second:
                    assert _maker(await predictions.get(prediction_id, None)) == second.pid
        finally:
            await predictions.close()

    asyncio.run(go())


def _maker(prediction: Any) -> int:
    return int(prediction.result.body.partition(b":")[0])


def _stopped_itself(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_many_workers_drain_many_rows_with_cancels(postgres_url: str) -> None:
    async def go() -> None:
        predictions = open_predictions(postgres_url)
        await predictions.start()
        try:
            with worker(postgres_url) as first, worker(postgres_url) as second:
                ids: list[str] = []

                async def client(number: int) -> None:
                    for i in range(20):
                        prediction, _ = await predictions.submit(new(b"%d %d" % (number, i), key=b"%d" % (i % 3)))
                        ids.append(prediction.id)
                        if i % 5 == 0:
                            await predictions.cancel(prediction.id, "ann")

                await asyncio.gather(*map(client, range(10)))
                found = await wait_ended(predictions, ids)
                states = [one.state for one in found.values()]
                assert set(states) <= {State.SUCCEEDED, State.CANCELED}
                assert len(states) == 200
                assert all((one.result is None) == (one.state is State.CANCELED) for one in found.values())
                for process in (first, second):
                    assert await asyncio.to_thread(stopped, process) == 0
        finally:
            await predictions.close()

    asyncio.run(go())


SUBMIT = """
import asyncio, sys
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.resource import NewPrediction, Payload

async def main(url):
    predictions = open_predictions(url)
    await predictions.start()
    asked = [NewPrediction(f"p{i}", "m", "ann", Payload(b"", (), 0), 1, b"d") for i in range(9)]
    await asyncio.gather(*map(predictions.submit, asked))

asyncio.run(main(sys.argv[1]))
"""


def test_a_process_killed_before_it_answers_a_submit_has_kept_it_once(url: str) -> None:
    environment = os.environ | {VARIABLE: "submit.written=kill"}
    killed = subprocess.run([sys.executable, "-c", SUBMIT, url], env=environment, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL

    async def go() -> None:
        predictions = open_predictions(url)
        await predictions.start()
        try:
            for i in range(9):
                asked = NewPrediction(f"p{i}", "m", "ann", Payload(b"", (), 0), 1, b"d")
                assert not (await predictions.submit(asked))[1]
            assert len(await predictions.claim("m", "here", 100)) == 9
        finally:
            await predictions.close()

    asyncio.run(go())
