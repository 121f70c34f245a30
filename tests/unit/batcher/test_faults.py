"""Computes, deliveries and callers that fail: each harms as few as it can."""

import logging
from typing import Any

import pytest

from penstock.batcher import Batcher, BatchPolicy
from penstock.errors import Internal, InvalidInput, PenstockError
from penstock.testing.batching import MODES, batcher_of, deliver_each, echo, run_within

every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
def test_compute_that_raises_harms_its_batch_alone(item: Any, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def compute(works: list[Any]) -> list[Any]:
            if works[0].key == "refused":
                raise InvalidInput("no", field="inputs[0]")
            if works[0].key == "broken":
                raise ZeroDivisionError("secret")
            return echo(works)

        batcher = batcher_of(mode, compute)
        refused, broken, good = ([item(key=key, payload=1) for _ in range(3)] for key in ("refused", "broken", "good"))
        for trio in zip(refused, broken, good, strict=True):
            for work in trio:
                batcher.submit(work)
        await batcher.drain()
        assert all(isinstance(work.answer, InvalidInput) for work in refused)
        assert all(type(work.answer) is Internal and "secret" not in str(work.answer) for work in broken)
        assert [work.answer for work in good] == [1, 1, 1]
        batcher.close()

    with caplog.at_level(logging.ERROR, "penstock.batcher"):
        run_within(main())
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


@every_mode
def test_coroutine_or_call_that_fails_at_once(item: Any, mode: str) -> None:
    """A compute that is not even callable as promised still answers everybody."""

    async def main() -> None:
        def compute(works: list[Any]) -> Any:
            raise TypeError

        batcher: Any = Batcher(compute, deliver_each, BatchPolicy(inline_rows=mode == "inline"), coroutine=mode == "coroutine")
        work = item()
        batcher.submit(work)
        await batcher.drain()
        assert type(work.answer) is Internal
        batcher.close()

    run_within(main())


@every_mode
@pytest.mark.parametrize("raised, told", [(ValueError("x"), Internal), (InvalidInput("x"), InvalidInput)])
def test_deliver_that_raises_half_way(item: Any, mode: str, raised: Exception, told: type[PenstockError]) -> None:
    """Those already answered keep their answer, the others get an error, and the next batch is served."""

    async def main() -> None:
        def deliver(works: list[Any], results: list[Any]) -> None:
            for work, result in zip(works, results, strict=True):
                if result == "bad":
                    raise raised
                work.put(result)

        batcher = batcher_of(mode, echo, deliver, max_rows=3)
        works = [item(payload=payload) for payload in ("a", "bad", "b", "c")]
        for work in works:
            batcher.submit(work)
        await batcher.drain()
        assert works[0].answer == "a"
        assert type(works[1].answer) is type(works[2].answer) is told
        assert works[3].answer == "c"
        batcher.close()

    run_within(main())


def test_work_that_cannot_take_its_error(item: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def compute(works: list[Any]) -> list[Any]:
            raise InvalidInput("no")

        def burst() -> None:
            raise ConnectionResetError

        batcher = batcher_of("inline", compute)
        works = [item(), item()]
        works[0].on_answer = burst
        for work in works:
            batcher.submit(work)
        await batcher.drain()
        assert all(isinstance(work.answer, InvalidInput) for work in works)
        batcher.close()

    run_within(main())
    assert "answering a request with an error failed" in caplog.text
