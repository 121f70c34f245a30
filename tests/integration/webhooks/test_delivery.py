"""Webhooks from the ending's transaction to the receiver, over real databases: each told, with one id, whatever dies between."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.database.tables import webhook_deliveries
from penstock_transformer.predictions.resource import Ending, NewPrediction, Payload, State, new_id
from penstock_transformer.predictions.webhook_delivery import WebhookDelivery

JSON = (("content-type", b"application/json"),)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PROGRAM = Path(__file__).with_name("deliverer_program.py")


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(100):
            await case()

    asyncio.run(bounded())


@asynccontextmanager
async def opened(database: str) -> Any:
    predictions = open_predictions(database)
    await predictions.start()
    try:
        yield predictions
    finally:
        await predictions.close()


async def submit(predictions: Any, url: str | None) -> str:
    prediction_id = new_id()
    new = NewPrediction(prediction_id, "m", "ann", Payload(b"{}", JSON, 2), 1, b"digest", webhook=url)
    await predictions.submit(new)
    return prediction_id


async def waiting(predictions: Any) -> list[Any]:
    return await predictions.engine.read(lambda c: c.execute(sa.select(webhook_deliveries)).all())  # type: ignore[no-any-return]


async def until_empty(predictions: Any) -> None:
    while await waiting(predictions):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def test_an_ending_is_told_once_and_an_ending_without_a_webhook_is_not(database: str, receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with opened(database) as predictions, receiver().serve() as there:
            delivery = WebhookDelivery(predictions, allowed())
            await delivery.start()
            url = f"http://127.0.0.1:{there.port}/hook"
            told, failed, untold, open_one = [await submit(predictions, where) for where in (url, url, None, url)]
            result = Payload(b'{"secret": 1}', JSON, 13)
            endings = [
                Ending(told, State.SUCCEEDED, result, "m@sha256:0"),
                Ending(failed, State.FAILED, kind="invalid_input", message="expected a number", field="rows[0].a"),
                Ending(untold, State.SUCCEEDED, result),
            ]
            await predictions.end(endings)
            await predictions.end(endings)
            await there.until(2)
            await until_empty(predictions)
            bodies = {request.headers["webhook-id"]: json.loads(request.body) for request in there.requests}
            assert sorted(bodies) == sorted(f"msg_{one}" for one in (told, failed))
            good, bad = bodies[f"msg_{told}"], bodies[f"msg_{failed}"]
            assert (good["type"], good["data"]["id"], good["data"]["model"]) == ("prediction.succeeded", told, "m")
            assert good["data"]["links"]["self"] == f"/predictions/{told}"
            assert b"secret" not in json.dumps(good).encode()
            assert bad["type"] == "prediction.failed"
            assert "expected a number" in json.dumps(bad["data"]["error"])
            await predictions.cancel(open_one, "ann")
            await there.until(3)
            assert json.loads(there.requests[2].body)["type"] == "prediction.canceled"
            await until_empty(predictions)
            await delivery.stop()
            assert len(there.requests) == 3

    run(case)


def test_an_ending_that_is_rolled_back_tells_nobody(database: str, receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with opened(database) as predictions:
            one = await submit(predictions, "http://127.0.0.1:1/")
            await predictions.end([Ending("not there", State.SUCCEEDED, Payload(b"", JSON, 0)), Ending(one, State.CANCELED)])
            assert [row.prediction_id for row in await waiting(predictions)] == [one]

    run(case)


def test_failures_are_tried_again_under_one_id_and_410_ends_it(database: str, receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        answers = [b"HTTP/1.1 500 No\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", b"HTTP/1.1 302 Go\r\n\r\n"]
        gone = [b"HTTP/1.1 410 Gone\r\n\r\n"]
        async with opened(database) as predictions, receiver(answers).serve() as there, receiver(gone).serve() as left:
            delivery = WebhookDelivery(predictions, allowed())
            await delivery.start()
            one = await submit(predictions, f"http://127.0.0.1:{there.port}/")
            other = await submit(predictions, f"http://127.0.0.1:{left.port}/")
            await predictions.end([Ending(one, State.CANCELED), Ending(other, State.CANCELED)])
            await there.until(4)
            await until_empty(predictions)
            await delivery.stop()
            assert Counter(request.headers["webhook-id"] for request in there.requests) == {f"msg_{one}": 4}
            assert len({request.body for request in there.requests}) == 1
            assert len(left.requests) == 1

    run(case)


def test_attempts_are_bounded(database: str, receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with opened(database) as predictions, receiver([b"HTTP/1.1 500 No\r\n\r\n"] * 9).serve() as there:
            delivery = WebhookDelivery(predictions, allowed(webhook_attempts=3))
            await delivery.start()
            await predictions.end([Ending(await submit(predictions, f"http://127.0.0.1:{there.port}/"), State.CANCELED)])
            await there.until(3)
            await until_empty(predictions)
            await delivery.stop()
            assert len(there.requests) == 3
            attempts = {s.labels["outcome"]: s.value for s in next(iter(delivery.families())).samples}
            assert (attempts["failed"], attempts["abandoned"]) == (2, 1)

    run(case)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_several_deliverers_never_send_one_webhook_at_the_same_time(database: str, receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with opened(database) as one, opened(database) as other, receiver().serve() as there:
            deliveries = [WebhookDelivery(predictions, allowed(webhook_per_host=8)) for predictions in (one, other, one)]
            for delivery in deliveries:
                await delivery.start()
            ids = [await submit(one, f"http://127.0.0.1:{there.port}/") for _ in range(60)]
            for start in range(0, 60, 10):
                await one.end([Ending(prediction_id, State.CANCELED) for prediction_id in ids[start : start + 10]])
            await there.until(60)
            await until_empty(one)
            for delivery in deliveries:
                await delivery.stop()
            assert Counter(request.headers["webhook-id"] for request in there.requests) == {f"msg_{one}": 1 for one in ids}
            assert set(there.most.values()) == {1}

    run(case)


def test_a_prediction_that_is_removed_is_still_told_of(database: str, receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with opened(database) as predictions, receiver().serve() as there:
            new = NewPrediction(
                new_id(), "m", "ann", Payload(b"{}", JSON, 2), 1, b"d", webhook=f"http://127.0.0.1:{there.port}/", keep_s=0.0
            )
            await predictions.submit(new)
            await predictions.end([Ending(new.id, State.CANCELED)])
            assert (await predictions.expire(4e9, 10)).removed == 1
            delivery = WebhookDelivery(predictions, allowed())
            await delivery.start()
            await there.until(1)
            await delivery.stop()

    run(case)


@pytest.mark.parametrize("point, times", [("webhook.claimed", 1), ("webhook.sent", 2), ("webhook.marked", 1)])
def test_a_deliverer_that_is_killed_is_followed(database: str, receiver: Any, allowed: Any, point: str, times: int) -> None:
    async def start(failpoints: str = "") -> Any:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, str(PROGRAM), database, "1.0", SECRET),
            env={**os.environ, "PENSTOCK_FAILPOINTS": failpoints},
            stdout=subprocess.PIPE,
        )

    async def case() -> None:
        async with receiver().serve() as there:
            async with opened(database) as predictions:
                one = await submit(predictions, f"http://127.0.0.1:{there.port}/")
                await predictions.end([Ending(one, State.CANCELED)])
            first = await start(f"{point}=kill")
            assert await first.wait() == -signal.SIGKILL
            if times > len(there.requests) or point == "webhook.claimed":
                second = await start()
                try:
                    await there.until(times)
                finally:
                    second.kill()
                    await second.wait()
            assert Counter(request.headers["webhook-id"] for request in there.requests) == {f"msg_{one}": times}
            assert there.most[f"msg_{one}"] == 1
            async with opened(database) as predictions:
                if point == "webhook.marked":
                    assert await waiting(predictions) == []

    run(case)


def test_a_deliverer_that_stands_still_past_its_lease_does_not_settle(database: str, receiver: Any, allowed: Any) -> None:
    """What the second did is not undone by the first, which comes back late."""

    async def case() -> None:
        async with opened(database) as predictions, receiver().serve() as there:
            there.hold = asyncio.Event()
            slow = WebhookDelivery(predictions, allowed(webhook_timeout_s=30.0))
            await slow.start()
            await predictions.end([Ending(await submit(predictions, f"http://127.0.0.1:{there.port}/"), State.CANCELED)])
            await there.until(1)
            # As if its lease were over: another claims.
            await predictions.engine.write(
                lambda c: c.execute(sa.update(webhook_deliveries).values(due_s=0.0, lease="another's"))
            )
            there.hold.set()
            await slow.stop()
            assert [row.lease for row in await waiting(predictions)] == ["another's"]

    run(case)


def test_a_receiver_is_told_within_moments_not_at_the_next_look(database: str, receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with opened(database) as predictions, receiver().serve() as there:
            delivery = WebhookDelivery(predictions, allowed())
            await delivery.start()
            url = f"http://127.0.0.1:{there.port}/"
            loop = asyncio.get_running_loop()
            waits = []
            for count in range(1, 6):
                one = await submit(predictions, url)
                began = loop.time()
                await predictions.end([Ending(one, State.CANCELED)])
                await there.until(count)
                waits.append(loop.time() - began)
            await delivery.stop()
            print(f"from ending to receiver: {sorted(waits)[2] * 1e3:.1f} ms (median of 5)")

    run(case)
