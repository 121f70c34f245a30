"""The disk under an SQLite file and its objects is full, a real one: what was taken is kept, the rest is refused, nothing is half
there. Needs root, for a file system of its own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import UpstreamUnavailable
from penstock.testing.servers import ServerMissing
from penstock.testing.small_disk import SmallDisk
from penstock_transformer.predictions.claim_check import ClaimCheck
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.objects import open_objects
from penstock_transformer.predictions.port import Filter
from penstock_transformer.predictions.resource import Ending, NewPrediction, Payload, State, new_id

JSON = (("content-type", b"application/json"),)
INLINE_BYTES = 1000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        with SmallDisk(tmp_path / "disk", 16) as made:
            yield made
    except ServerMissing as missing:
        pytest.skip(str(missing))


def new(body: bytes) -> NewPrediction:
    return NewPrediction(new_id(), "m", "ann", Payload(body, JSON, len(body)), 1, body[:20])


@pytest.mark.parametrize("size", [INLINE_BYTES, 100 * INLINE_BYTES])
def test_a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing(disk: SmallDisk, size: int) -> None:
    """Once in the file itself, once in the folder of objects beside it."""

    async def go() -> None:
        predictions = open_predictions(f"sqlite:///{disk.folder}/predictions.db")
        objects = open_objects(f"file://{disk.folder}/objects", most_bytes=10**6, timeout_s=10.0)
        claims = ClaimCheck(objects, INLINE_BYTES)
        await objects.start()
        await predictions.start()
        try:
            async with asyncio.timeout(60):
                kept: list[str] = []
                for _ in range(2):
                    kept.append((await claims.submit(predictions, new(b"x" * size)))[0].id)
                    disk.fill()
                    kept += await _until_refused(predictions, claims, size)
                    # What is there can be read, and an end that does not fit changes nothing.
                    assert (await predictions.get(kept[0], None)).state is State.STARTING
                    with pytest.raises(UpstreamUnavailable):
                        await _end_with_much(predictions, kept[-1])
                    disk.free()
                await _check(predictions, claims, kept, size)
        finally:
            await predictions.close()

    asyncio.run(go())


async def _until_refused(predictions: Any, claims: ClaimCheck, size: int) -> list[str]:
    """The ids of those that were taken before one was not."""
    taken: list[str] = []
    while True:
        try:
            taken.append((await claims.submit(predictions, new(b"x" * size)))[0].id)
        except UpstreamUnavailable:
            return taken


async def _end_with_much(predictions: Any, prediction_id: str) -> None:
    """An end that needs more room than there is."""
    body = b"x" * 1_000_000
    await predictions.end([Ending(prediction_id, State.SUCCEEDED, Payload(body, JSON, len(body)))])


async def _check(predictions: Any, claims: ClaimCheck, kept: list[str], size: int) -> None:
    """All that was taken is there whole, waits, and can be ended."""
    found = (await predictions.find(Filter(None), 1000, None)).predictions
    assert {one.id for one in found} == set(kept)
    for one in found:
        assert await claims.unpack(await predictions.input(one.id, None)) == b"x" * size
    assert len(await predictions.claim("m", "here", 1000)) == len(kept)
    ended = await predictions.end([Ending(name, State.SUCCEEDED, Payload(b"1", JSON, 1)) for name in kept])
    assert sorted(ended) == sorted(kept)
