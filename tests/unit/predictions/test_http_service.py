"""The service over a store in memory, or one that fails: bounds, waiting, opening, leaving."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import InvalidInput, NotFound, NotReady, Overloaded, UpstreamUnavailable
from penstock.lifecycle import Lifecycle
from penstock_transformer.predictions.memory import MemoryPredictions
from penstock_transformer.predictions.port import Filter
from penstock_transformer.predictions.resource import Ending, NewPrediction, Payload, State, new_id
from penstock_transformer.predictions.room import Room
from penstock_transformer.predictions.service import PredictionService
from penstock_transformer.predictions.settings import MEMORY, PredictionsSettings


def new(**given: Any) -> NewPrediction:
    payload = Payload(b"{}", (("content-type", b"application/json"),), 2)
    return NewPrediction(new_id(), "m", "", payload, 1, b"d", **given)


class Failing(MemoryPredictions):
    """Fails to start so many times, and then with what it is told."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__()
        self.error = error
        self.times = times

    async def start(self) -> None:
        if self.times > 0:
            self.times -= 1
            raise self.error


def serving(
    body: Callable[[PredictionService, Lifecycle], Awaitable[None]],
    store: Any = None,
    file: Path = Path("/nowhere/x"),
    **settings: Any,
) -> None:
    async def whole() -> None:
        lifecycle = Lifecycle()
        given = PredictionsSettings(**{"database": MEMORY, **settings})
        kept = MemoryPredictions() if store is None else store
        service = PredictionService(given, {}, lifecycle, file=file, opener=lambda _: kept)
        await lifecycle.start()
        try:
            await body(service, lifecycle)
        finally:
            await lifecycle.stop(5)

    asyncio.run(whole())


def test_room_is_bounded_in_number_and_bytes_and_given_back() -> None:
    room = Room("bodies", 2, 100)
    with room.taken(200), pytest.raises(Overloaded), room.taken(1):  # the first was alone, and fits however large
        raise AssertionError
    with room.taken(60), room.taken(40), pytest.raises(Overloaded), room.taken(0):
        raise AssertionError
    with pytest.raises(KeyError), room.taken(5):
        raise KeyError
    assert (room.count, room.nbytes) == (0, 0)


def test_a_wait_ends_with_the_prediction_or_with_its_time_or_with_the_process() -> None:
    async def body(service: PredictionService, lifecycle: Lifecycle) -> None:
        store = service._backing.store if service._backing is not None else None
        assert store is not None
        first, _ = await service.submit(new())
        assert (await service.ended(first, 0.01)).state is State.STARTING
        waiting = asyncio.ensure_future(service.ended(first, 30))
        await asyncio.sleep(0)
        await store.end([Ending(first.id, State.FAILED, kind="internal")])
        assert (await waiting).state is State.FAILED
        second, _ = await service.submit(new())
        waiting = asyncio.ensure_future(service.ended(second, 30))
        await asyncio.sleep(0)
        lifecycle.drain()
        assert (await waiting).state is State.STARTING
        assert service.followers.count == 0

    serving(body)


def test_too_many_who_wait_are_answered_at_once_and_who_follow_are_refused() -> None:
    async def body(service: PredictionService, _: Lifecycle) -> None:
        kept, _new = await service.submit(new())
        async with service.follow(kept.id) as states:
            assert await anext(states) is State.STARTING
            assert (await service.ended(kept, 30)).state is State.STARTING
            with pytest.raises(Overloaded):
                async with service.follow(kept.id):
                    raise AssertionError

    serving(body, async_followers=1)


def test_looking_opens_nothing_and_finds_nothing(tmp_path: Path) -> None:
    async def body(service: PredictionService, _: Lifecycle) -> None:
        with pytest.raises(NotFound):
            await service.get("some", None)
        assert (await service.find(Filter(None), 10, None)).predictions == ()
        assert service._backing is None

    serving(body, database=None, file=tmp_path / "none.db")


@pytest.mark.parametrize("id", ["", "a" * 201, "a\0b", "\n"])
def test_ids_that_cannot_be(id: str) -> None:
    async def body(service: PredictionService, _: Lifecycle) -> None:
        with pytest.raises(NotFound):
            await service.get(id, None)

    serving(body)


def test_a_database_that_is_away_is_tried_again_with_the_next_request() -> None:
    async def body(service: PredictionService, _: Lifecycle) -> None:
        with pytest.raises(UpstreamUnavailable):
            await service.submit(new())
        assert (await service.submit(new()))[1]

    serving(body, Failing(UpstreamUnavailable("away"), 2))


def test_a_database_that_can_never_be_opened_ends_the_start() -> None:
    async def body(service: PredictionService, _: Lifecycle) -> None:
        raise AssertionError

    with pytest.raises(InvalidInput, match="newer release"):
        serving(body, Failing(InvalidInput("made by a newer release"), 1))


def test_the_default_file_that_another_process_has_holds_up_no_start(tmp_path: Path) -> None:
    file = tmp_path / "there.db"
    file.touch()

    async def body(service: PredictionService, _: Lifecycle) -> None:
        with pytest.raises(UpstreamUnavailable, match="another process"):
            await service.submit(new())

    serving(body, Failing(InvalidInput("open in another process"), 9), file, database=None)


def test_a_process_that_stops_opens_nothing_any_more(tmp_path: Path) -> None:
    async def body(service: PredictionService, lifecycle: Lifecycle) -> None:
        lifecycle.drain()
        with pytest.raises(NotReady):
            await service.submit(new())

    serving(body, file=tmp_path / "none.db", database=None)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"results_keep": "a week"}, "results_keep"),
        ({"database": "sqlite:///x.db", "workers": 2}, "postgresql"),
        ({"database": MEMORY, "workers": 2}, "postgresql"),
    ],
)
def test_settings_that_no_start_can_make_good(given: dict[str, Any], words: str) -> None:
    workers = given.pop("workers", 1)
    with pytest.raises(ValueError, match=words):
        PredictionsSettings(**given).check_predictions(workers)


def test_keeping_for_ever() -> None:
    assert PredictionsSettings(results_keep="0").keep_s() is None
    assert PredictionsSettings(results_keep="1d12h").keep_s() == 36 * 3600
    PredictionsSettings(database="postgresql://x/y").check_predictions(4)
