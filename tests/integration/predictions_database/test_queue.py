"""The table as the queue, seen through the broker's ports: memory, SQLite, PostgreSQL."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.errors import TooLarge
from penstock_transformer.broker.port import TooLargeForTopic
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.predictions.queue import TableIntake, TableOutlet, TableQueue
from penstock_transformer.predictions.resource import NewPrediction, Payload, State, new_id

JSON = (("content-type", b"application/json"),)


def new(body: bytes = b"{}", *, model: str = "m", **values: Any) -> NewPrediction:
    payload = values.pop("payload", None) or Payload(body, JSON, len(body))
    return NewPrediction(new_id(), model, "ann", payload, 1, body, **values)


def answer(record: Record, value: bytes = b"[1]") -> OutRecord:
    headers = (
        ("ce_id", record.header("ce_id") or b""),
        ("content-type", b"application/json"),
        ("penstock-bundle", b"m@sha256:1"),
    )
    return OutRecord("m.predictions", record.key, value, headers)


def letter(record: Record) -> OutRecord:
    ours = (("penstock-reason", b"invalid_input"), ("penstock-message", b"no"), ("penstock-field", b"rows[0].a"))
    return OutRecord("m.dead-letters", record.key, record.value, (*record.headers, *ours))


class Worker:
    """Reads and writes as the worker's threads do; `assigned` are its partitions."""

    def __init__(self, queue: TableQueue) -> None:
        self.queue = queue
        self.intake: TableIntake = queue.intake()
        self.outlet: TableOutlet = queue.outlet()
        self.assigned_partitions: list[Partition] = []

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.assigned_partitions += partitions

    def revoked(self, partitions: Sequence[Partition]) -> None: ...

    def lost(self, partitions: Sequence[Partition]) -> None: ...

    async def start(self) -> "Worker":
        await asyncio.to_thread(self.outlet.open)
        await asyncio.to_thread(self.intake.subscribe, [self.queue.topic], self)
        return self

    async def poll(self, timeout_s: float = 10.0, most: int = 100) -> list[Record]:
        return await asyncio.to_thread(self.intake.poll, timeout_s, most)

    async def poll_all(self, count: int) -> list[Record]:
        found: list[Record] = []
        while len(found) < count:
            found += await self.poll()
        return found

    async def commit(self, *outs: OutRecord, upto: Sequence[Record] = ()) -> None:
        offsets = {record.partition: record.offset + 1 for record in upto}
        await asyncio.to_thread(self.outlet.commit, list(outs), offsets, None)

    async def close(self) -> None:
        await asyncio.to_thread(self.intake.close)
        await asyncio.to_thread(self.outlet.close)


def worker_of(p: Any, **values: Any) -> Worker:
    return Worker(TableQueue(p, "m", asyncio.get_running_loop(), **values))


def id_of(record: Record) -> str:
    return (record.header("ce_id") or b"").decode()


def test_what_is_submitted_is_read_and_ended(run: Any) -> None:
    async def case(p: Any) -> None:
        worker = await worker_of(p).start()
        asked = new(b'{"rows": [1]}', key=b"k", headers=(("traceparent", b"00-1"),), created_s=1700000000.5)
        failing = new(payload=Payload(None, JSON, 9, "file:x"))
        await p.submit(asked)
        await p.submit(failing)
        records = await worker.poll_all(2)
        first = next(record for record in records if id_of(record) == asked.id)
        second = next(record for record in records if id_of(record) == failing.id)
        assert (first.key, first.value, first.timestamp_ms) == (b"k", b'{"rows": [1]}', 1700000000500)
        assert (first.header("traceparent"), first.header("content-type")) == (b"00-1", b"application/json")
        assert first.partition in worker.assigned_partitions
        assert first.partition.topic == "m.requests"
        assert second.header("penstock-reference") == b"file:x"
        assert (await p.get(asked.id, None)).state is State.PROCESSING
        await worker.commit(answer(first, b"[7]"), letter(second), upto=records)
        done, failed = await p.get(asked.id, None), await p.get(failing.id, None)
        assert (done.state, done.bundle, done.result.body, done.result.headers) == (State.SUCCEEDED, "m@sha256:1", b"[7]", JSON)
        assert (failed.state, failed.kind, failed.message, failed.field) == (State.FAILED, "invalid_input", "no", "rows[0].a")
        assert await p.held("m", worker.queue.holder) == []
        assert worker.intake.committed([first.partition]) == worker.intake.ends([first.partition])
        await worker.close()

    run(case)


def test_a_waiting_poll_is_woken_by_a_submit(run: Any) -> None:
    async def case(p: Any) -> None:
        worker = await worker_of(p).start()
        assert await worker.poll(0.0) == []
        for _ in range(5):
            polling = asyncio.ensure_future(worker.poll(55.0))
            await p.submit(new())
            assert len(await polling) == 1
        await worker.close()

    run(case)


def test_wake_returns_a_poll_early(run: Any) -> None:
    async def case(p: Any) -> None:
        worker = await worker_of(p).start()
        polling = asyncio.ensure_future(worker.poll(55.0))
        worker.intake.wake()
        assert await polling == []
        await worker.close()

    run(case)


def test_offsets_grow_lane_by_lane_and_keys_keep_theirs(run: Any) -> None:
    async def case(p: Any) -> None:
        worker = await worker_of(p).start()
        asked = [new(b"%d" % i, key=b"%d" % (i % 5) if i % 2 else None) for i in range(60)]
        for one in asked:
            await p.submit(one)
        records = await worker.poll_all(60)
        offsets: dict[Partition, int] = {}
        lanes: dict[bytes, Partition] = {}
        for record in records:
            assert record.offset == offsets.get(record.partition, 0)
            offsets[record.partition] = record.offset + 1
            if record.key is not None:
                assert lanes.setdefault(record.key, record.partition) == record.partition
        assert len(offsets) > 5
        by_key = {key: [r.value for r in records if r.key == key] for key in lanes}
        assert all(values == sorted(values, key=lambda v: int(v or b"")) for values in by_key.values())
        await worker.close()

    run(case)


def test_paused_lanes_are_left_out(run: Any) -> None:
    async def case(p: Any) -> None:
        worker = await worker_of(p).start()
        await worker.poll(0.0)
        lanes = worker.assigned_partitions
        worker.intake.pause(lanes)
        await p.submit(new(key=b"a"))
        await p.submit(new())
        assert await worker.poll(0.0) == []
        worker.intake.resume(lanes)
        found = await worker.poll_all(2)
        keyed = next(record for record in found if record.key == b"a")
        worker.intake.pause([keyed.partition])
        await p.submit(new(key=b"a"))
        other = new()
        await p.submit(other)
        assert [id_of(record) for record in await worker.poll_all(1)] == [other.id]
        worker.intake.resume([keyed.partition])
        assert [record.key for record in await worker.poll_all(1)] == [b"a"]
        await worker.close()

    run(case)


def test_a_cancel_while_it_is_processed_stays(run: Any) -> None:
    async def case(p: Any) -> None:
        worker = await worker_of(p).start()
        asked, unread = new(), new()
        await p.submit(asked)
        records = await worker.poll_all(1)
        await p.submit(unread)
        await p.cancel(unread.id, None)
        await p.cancel(asked.id, None)
        await worker.commit(answer(records[0]), upto=records)
        assert (await p.get(asked.id, None)).state is State.CANCELED
        assert await worker.poll(0.0) == []
        await worker.close()

    run(case)


def test_who_closes_gives_back(run: Any) -> None:
    async def case(p: Any) -> None:
        first = await worker_of(p).start()
        second = await worker_of(p).start()
        asked = [new(b"%d" % i) for i in range(4)]
        for one in asked:
            await p.submit(one)
        records = await first.poll_all(4)
        await first.commit(answer(records[0]), upto=records[:1])
        await first.close()
        left = await second.poll_all(3)
        assert sorted(id_of(r) for r in left) == sorted(id_of(r) for r in records[1:])
        await second.close()

    run(case)


def test_a_holder_that_is_gone_is_followed_by_the_next(run: Any) -> None:
    async def case(p: Any) -> None:
        gone = await worker_of(p, lease_s=0.2).start()
        asked = new()
        await p.submit(asked)
        records = await gone.poll_all(1)
        # As a process that hangs: it renews no more, and comes back later.
        assert gone.intake._renewing is not None
        gone.intake._renewing.cancel()
        follower = await worker_of(p, lease_s=0.2).start()
        again = await follower.poll_all(1)
        assert id_of(again[0]) == asked.id
        await follower.commit(answer(again[0], b"[2]"), upto=again)
        await gone.commit(answer(records[0], b"[1]"), upto=records)
        assert (await p.get(asked.id, None)).result.body == b"[2]"
        await gone.close()
        await follower.close()

    run(case)


def test_many_workers_take_each_row_once(run: Any) -> None:
    async def case(p: Any) -> None:
        workers = [await worker_of(p).start() for _ in range(3)]
        asked = [new() for _ in range(150)]
        seen: list[str] = []

        async def work(worker: Worker) -> None:
            while len(seen) < len(asked):
                records = await worker.poll(0.2, 7)
                seen.extend(id_of(record) for record in records)
                await worker.commit(*(answer(record) for record in records), upto=records)

        await asyncio.gather(*(p.submit(one) for one in asked), *(work(worker) for worker in workers))
        assert sorted(seen) == sorted(one.id for one in asked)
        assert {(await p.get(one.id, None)).state for one in asked} == {State.SUCCEEDED}
        for worker in workers:
            await worker.close()

    run(case)


def test_a_claim_is_bounded_in_bytes(run: Any) -> None:
    async def case(p: Any) -> None:
        for size in (10, 20, 30, 500, 5):
            await p.submit(new(b"x" * size))
        sizes = []
        while claims := await p.claim("m", "here", 10, 60):
            sizes.append([claim.payload.nbytes for claim in claims])
        assert sizes == [[10, 20, 30], [500], [5]]

    run(case)


def test_large_results_are_put_away_first(run: Any) -> None:
    async def case(p: Any) -> None:
        put: list[str] = []

        async def pack(prediction_id: str, payload: Payload) -> Payload:
            put.append(prediction_id)
            return Payload(None, payload.headers, payload.nbytes, f"file:{prediction_id}")

        worker = await worker_of(p, pack=pack).start()
        asked, failing = new(), new()
        await p.submit(asked)
        await p.submit(failing)
        records = sorted(await worker.poll_all(2), key=lambda record: id_of(record) != asked.id)
        await worker.commit(answer(records[0]), letter(records[1]), upto=records)
        assert put == [asked.id]
        assert (await p.get(asked.id, None)).result.reference == f"file:{asked.id}"
        await worker.close()

    run(case)


def test_a_result_that_no_store_takes_is_said_with_its_place(run: Any) -> None:
    async def case(p: Any) -> None:
        async def pack(_: str, payload: Payload) -> Payload:
            if payload.nbytes > 10:
                raise TooLarge("expected at most 10 bytes")
            return payload

        worker = await worker_of(p, pack=pack).start()
        for _ in range(3):
            await p.submit(new())
        records = await worker.poll_all(3)
        outs = [letter(records[0]), answer(records[1]), answer(records[2], b"x" * 11)]
        with pytest.raises(TooLargeForTopic, match="at most 10") as raised:
            await worker.commit(*outs, upto=records)
        assert raised.value.at == 2
        assert (await p.get(id_of(records[0]), None)).state is State.PROCESSING
        await worker.close()

    run(case)


def test_it_is_never_called_on_the_loop(run: Any) -> None:
    async def case(p: Any) -> None:
        worker = worker_of(p)
        with pytest.raises(RuntimeError, match="own thread"):
            worker.intake.subscribe(["m.requests"], worker)
        with pytest.raises(ValueError, match=r"m\.requests"):
            await asyncio.to_thread(worker.intake.subscribe, ["n.requests"], worker)

    run(case)


def test_rows_whose_claim_was_not_answered_come_again(run: Any) -> None:
    async def case(p: Any) -> None:
        worker = await worker_of(p).start()
        await worker.poll(0.0)
        asked = new()
        await p.submit(asked)
        # The claim happened, and its answer was lost.
        await p.claim("m", worker.queue.holder, 1)
        worker.intake._doubtful = True
        assert [id_of(record) for record in await worker.poll_all(1)] == [asked.id]
        await worker.close()

    run(case)
