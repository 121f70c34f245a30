"""The disk of PostgreSQL is full, in the midst of submits, publishing and sinking: what was taken is kept, and ends once.
Needs root, for a file system of its own."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.errors import UpstreamUnavailable
from penstock.testing.shared_servers import started
from penstock.testing.small_disk import SmallPostgres
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.resource import NewPrediction, Payload, new_id

pytestmark = pytest.mark.timeout(300)
JSON = (("content-type", b"application/json"),)


@pytest.fixture(scope="module")
def postgres() -> Iterator[SmallPostgres]:
    with started(SmallPostgres) as server:
        yield server


def test_a_full_disk_of_postgresql_is_said_and_loses_nothing(place: Any, postgres: SmallPostgres) -> None:
    relay, sink = place.relay().wait_ready(), place.sink().wait_ready()
    with place.answering():
        place.submit(20)
        for _ in range(2):
            postgres.fill()
            try:
                taken, said = asyncio.run(_submit_until_refused(place))
            finally:
                postgres.free()
            place.submitted += taken
            assert said
            assert postgres.password not in said
            place.submit(20)
        place.wait_ended(place.submitted, 90)
    place.check()
    # What was refused may have happened, but never half of it: what is kept has been published, and ended.
    assert not sink.output_ended
    assert not relay.output_ended


async def _submit_until_refused(place: Any) -> tuple[list[str], str]:
    """The ids that were answered, and what the first refusal said."""
    body = b'{"a": "%s"}' % (b"x" * 100_000)
    taken: list[str] = []
    predictions = open_predictions(place.database)
    await predictions.start()
    try:
        async with asyncio.timeout(90):
            while True:
                new = NewPrediction(new_id(), place.model, "ann", Payload(body, JSON, len(body)), 1, b"d")
                try:
                    await predictions.submit(new)
                except UpstreamUnavailable as error:
                    return taken, str(error)
                taken.append(new.id)
    finally:
        await predictions.close()
