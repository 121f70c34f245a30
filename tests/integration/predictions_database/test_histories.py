"""Random histories of calls: memory and SQLite answer alike, an ended prediction never changes, one id has one ending."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import PenstockError
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.memory import MemoryPredictions
from penstock_transformer.predictions.port import Claim, Filter
from penstock_transformer.predictions.resource import ENDED, Ending, NewPrediction, Payload, State

JSON = (("content-type", b"application/json"),)
STEPS = 150


class History:
    """One seeded history. The next call is drawn from what the first implementation knows; both are asked."""

    def __init__(self, seed: int, *places: Any) -> None:
        self.random = random.Random(seed)
        self.places = places
        self.ids: list[str] = []
        self.now = 1000.0
        self.ended: dict[str, Any] = {}
        self.endings = 0

    async def step(self) -> None:
        self.now += self.random.random()
        draw = getattr(self, self.random.choice(CALLS))
        name, arguments = draw()
        answers = [await _answer(place, name, arguments) for place in self.places]
        shown = [_shown(answer) for answer in answers]
        assert all(one == shown[0] for one in shown[1:]), (name, arguments, shown)
        self.check(name, arguments, answers[0])

    def check(self, name: str, arguments: tuple[Any, ...], answer: Any) -> None:
        """What must hold whatever happened."""
        if name == "end" and not isinstance(answer, PenstockError):
            given = {ending.id: ending for ending in reversed(arguments[0])}
            for prediction_id in answer:
                assert prediction_id not in self.ended or given[prediction_id].replayed
        if name == "get" and not isinstance(answer, PenstockError) and answer.state in ENDED:
            before = self.ended.get(answer.id)
            shown = _shown(answer)
            assert before in (None, shown), (before, shown)
            self.ended[answer.id] = shown

    def some(self) -> str:
        return self.random.choice(self.ids) if self.ids and self.random.random() < 0.95 else "no such"

    def owner(self) -> str | None:
        return self.random.choice([None, "ann", "bob"])

    def submit(self) -> tuple[str, tuple[Any, ...]]:
        draw = self.random
        body = draw.choice([b"a", b"b"])
        again = self.ids and draw.random() < 0.1
        prediction_id = draw.choice(self.ids) if again else f"p{len(self.ids)}"
        if not again:
            self.ids.append(prediction_id)
        payload = Payload(None, JSON, 5, "file:x") if draw.random() < 0.2 else Payload(body, JSON, 1)
        new = NewPrediction(
            prediction_id,
            draw.choice(["m", "n"]),
            draw.choice(["ann", "bob"]),
            payload,
            draw.randrange(5),
            body,
            key=draw.choice([None, b"k"]),
            headers=(("penstock-priority", draw.choice([b"-1", b"0", b"3"])),),
            idempotency_key=draw.choice([None, None, "k1", "k2", "k3"]),
            keep_s=draw.choice([None, 0.0, 5.0, 50.0]),
            created_s=self.now,
        )
        return "submit", (new,)

    def get(self) -> tuple[str, tuple[Any, ...]]:
        return "get", (self.some(), self.owner())

    def input(self) -> tuple[str, tuple[Any, ...]]:
        return "input", (self.some(), self.owner())

    def cancel(self) -> tuple[str, tuple[Any, ...]]:
        return "cancel", (self.some(), self.owner())

    def end(self) -> tuple[str, tuple[Any, ...]]:
        draw = self.random
        endings = []
        for _ in range(draw.randrange(4)):
            good = draw.random() < 0.7
            payload = Payload(b"r%d" % self.endings, JSON, 2, None) if good else None
            self.endings += 1
            state = State.SUCCEEDED if good else State.FAILED
            endings.append(Ending(self.some(), state, payload, "m@1", None if good else "internal", ended_s=self.now))
        return "end", (endings,)

    def find(self) -> tuple[str, tuple[Any, ...]]:
        draw = self.random
        wanted = Filter(
            self.owner(),
            draw.choice([None, "m"]),
            draw.choice([None, *State]),
            draw.choice([None, 1000.0 + draw.random() * 50]),
            draw.choice([None, 1000.0 + draw.random() * 50]),
        )
        return "find", (wanted, draw.randrange(1, 9), None)

    def expire(self) -> tuple[str, tuple[Any, ...]]:
        # One at a time, or all: which of several goes first is nobody's business.
        return "expire", (self.now, 1000)

    def claim(self) -> tuple[str, tuple[Any, ...]]:
        return "claim", (self.random.choice(["m", "n"]), self.random.choice(["here", "there"]), self.random.randrange(1, 4))

    def held(self) -> tuple[str, tuple[Any, ...]]:
        return "held", (self.random.choice(["m", "n"]), self.random.choice(["here", "there"]))

    def give_back(self) -> tuple[str, tuple[Any, ...]]:
        ids = None if self.random.random() < 0.3 else [self.some() for _ in range(2)]
        return "give_back", (self.random.choice(["here", "there"]), ids)

    def existing(self) -> tuple[str, tuple[Any, ...]]:
        return "existing", ([self.some() for _ in range(3)],)


CALLS = ["submit"] * 5 + ["get"] * 3 + ["end"] * 2 + ["claim"] * 2
CALLS += ["input", "cancel", "find", "expire", "held", "give_back", "existing"]


async def _answer(place: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    try:
        if name == "find":
            return await _pages(place, *arguments)
        return await getattr(place, name)(*arguments)
    except PenstockError as error:
        return error


async def _pages(place: Any, wanted: Filter, limit: int, cursor: str | None) -> list[Any]:
    """All pages, by their cursors."""
    pages = []
    while True:
        page = await place.find(wanted, limit, cursor)
        pages.append(tuple(page.predictions))
        cursor = page.cursor
        if cursor is None:
            return pages


def _shown(answer: Any) -> Any:
    """An answer as something that can be compared: without the place's own clock and numbers, in no order where there is none."""
    if isinstance(answer, PenstockError):
        return type(answer).__name__, answer.message
    if hasattr(answer, "__struct_fields__"):
        clocks = {
            "sequence",
            "started_s",
            *(("ended_s", "expires_s") if getattr(answer, "state", None) is State.CANCELED else ()),
        }
        return {name: _shown(getattr(answer, name)) for name in answer.__struct_fields__ if name not in clocks}
    if isinstance(answer, Claim):
        return tuple(map(_shown, answer[1:]))
    if isinstance(answer, tuple):
        return tuple(map(_shown, answer))
    if isinstance(answer, list):
        shown = list(map(_shown, answer))
        return sorted(shown) if shown and isinstance(shown[0], str) else shown
    return answer


@pytest.mark.parametrize("seed", range(8))
def test_memory_and_sqlite_answer_alike(tmp_path: Path, seed: int) -> None:
    async def go() -> None:
        sqlite = open_predictions(f"sqlite:///{tmp_path}/p.db")
        await sqlite.start()
        history = History(seed, MemoryPredictions(), sqlite)
        try:
            for _ in range(STEPS):
                await history.step()
        finally:
            await sqlite.close()

    asyncio.run(go())


@pytest.mark.parametrize("seed", range(100, 102))
def test_memory_and_postgres_answer_alike(postgres_url: str, seed: int) -> None:
    async def go() -> None:
        postgres = open_predictions(postgres_url)
        await postgres.start()
        history = History(seed, MemoryPredictions(), postgres)
        try:
            for _ in range(STEPS):
                await history.step()
        finally:
            await postgres.close()

    asyncio.run(go())


def test_many_at_once_end_each_prediction_once(url: str) -> None:
    """Workers, a sink, cancels and lost leases race for the same predictions: of all endings one is taken."""

    async def go() -> None:
        p = open_predictions(url)
        await p.start()
        ids = [f"p{i}" for i in range(60)]
        payload = Payload(b"{}", JSON, 2)
        await asyncio.gather(*(p.submit(NewPrediction(one, "m", "ann", payload, 1, b"d")) for one in ids))
        taken: list[str] = []
        draw = random.Random(5)

        async def worker(number: int) -> None:
            for _ in range(12):
                claims = await p.claim("m", f"h{number}", 10)
                if draw.random() < 0.3:
                    await p.give_back(f"h{number}")
                result = Payload(b"%d" % number, JSON, 1)
                taken.extend(await p.end([Ending(claim.id, State.SUCCEEDED, result) for claim in claims]))

        async def sink() -> None:
            for _ in range(8):
                some = draw.sample(ids, 15)
                taken.extend(await p.end([Ending(one, State.FAILED, kind="internal", message="sink") for one in some]))

        async def canceller() -> None:
            for one in draw.sample(ids, 15):
                await p.cancel(one, None)

        await asyncio.gather(*(worker(number) for number in range(3)), sink(), sink(), canceller())
        page = await p.find(Filter(None), 100, None)
        canceled = [one.id for one in page.predictions if one.state is State.CANCELED]
        assert len(taken) == len(set(taken))
        assert not set(taken) & set(canceled)
        for one in page.predictions:
            assert (one.state in (State.SUCCEEDED, State.FAILED)) == (one.id in taken)
        await p.close()

    asyncio.run(go())
