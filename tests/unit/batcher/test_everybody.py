"""Any mixture of callers, faults and policies: everybody is answered once, with what is theirs, and nothing is left behind."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.batcher import answering
from penstock.errors import InvalidInput, PenstockError
from penstock.testing.batching import MODES, batcher_of, echo, run_within

works_given = st.lists(
    st.fixed_dictionaries(
        {
            "rows": st.integers(0, 5),
            "nbytes": st.integers(0, 60),
            "key": st.sampled_from(["a", "b", None, "refuse", "break"]),
            "deadline": st.sampled_from([None, None, -1.0, 0.0005, 30.0]),
            "priority": st.sampled_from([0, 0, 1]),
            "leaves": st.booleans(),
            "pause": st.booleans(),
        }
    ),
    max_size=24,
)


@settings(max_examples=60, deadline=None)
@given(
    works_given,
    st.sampled_from(MODES),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 10),
    st.sampled_from([0.0, 0.0, 1.0]),
    st.booleans(),
    st.booleans(),
)
def test_everybody_is_answered_once(
    item: Any,
    given_works: Any,
    mode: str,
    max_rows: int,
    in_flight: int,
    items: int,
    delay: float,
    bad_deliver: bool,
    in_steps: bool,
) -> None:
    def compute(works: list[Any]) -> list[Any]:
        assert len({work.key for work in works}) == 1
        assert len(works) == 1 or sum(work.rows for work in works) <= max_rows
        if works[0].key == "refuse":
            raise InvalidInput("no")
        if works[0].key == "break":
            raise KeyError
        return echo(works)

    def steps(works: list[Any], results: list[Any]) -> Iterator[None]:
        for work, result in zip(works, results, strict=True):
            if bad_deliver and result % 5 == 4:
                raise RuntimeError
            work.put(result)
            yield

    def deliver(works: list[Any], results: list[Any]) -> Iterator[None] | None:
        return steps(works, results) if in_steps else deque(steps(works, results), 0).clear()

    async def main() -> None:
        policy = {"max_rows": max_rows, "max_in_flight": in_flight, "max_queue_items": items, "max_queue_bytes": 100}
        batcher = batcher_of(mode, compute, deliver, max_delay_ms=delay, **policy)
        works = []
        for at, choice in enumerate(given_works):
            deadline = choice["deadline"]
            work = item(
                choice["rows"],
                nbytes=choice["nbytes"],
                key=choice["key"],
                deadline=None if deadline is None else time.monotonic() + deadline,
                priority=choice["priority"],
                payload=at,
            )
            works.append(work)
            batcher.submit(work)
            assert not work.answers
            assert batcher.queued_items <= items
            assert batcher.queued_bytes <= 100
            work.disconnected = choice["leaves"]
            if choice["pause"]:
                await asyncio.sleep(0)
        await batcher.drain()
        await asyncio.sleep(0)  # refusals are told in the loop's next turn
        assert (batcher.queued_items, batcher.queued_bytes, batcher.queued_rows, batcher.in_flight) == (0, 0, 0, 0)
        batcher.close()
        for at, work in enumerate(works):
            assert work.answer == at or isinstance(work.answer, PenstockError)

    logging.disable(logging.CRITICAL)
    try:
        with patch.object(answering, "SLICE_S", 0.0):  # every step is a slice of its own
            run_within(main())
    finally:
        logging.disable(logging.NOTSET)
