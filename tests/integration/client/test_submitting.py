"""Predictions under an id by both clients: submitted, waited for, listed, cancelled."""

import asyncio

from penstock.client import AsyncClient, Client
from penstock.testing.server import ServerProcess

ROWS = [{"distance": 3.5, "carrier": "UA"}, {"distance": 7}]


def test_a_prediction_is_submitted_once_and_waited_for(server: ServerProcess) -> None:
    with Client(server.url, timeout_s=10) as client:
        submitted = client.submit("flights", ROWS, idempotency_key="client")
        assert client.submit("flights", ROWS, idempotency_key="client").id == submitted.id
        ended = client.wait(submitted.id, timeout_s=20)
        assert (ended.state, len(ended.predictions)) == ("succeeded", 2)
        assert ended.predictions[0].label == client.predict("flights", ROWS).predictions[0].label
        assert client.cancel(submitted.id).state == "succeeded"
        table = client.submit_body("flights", b"distance\n1\n", "text/csv")
        assert client.wait(table.id).done
        page = client.predictions(model="flights", limit=1)
        assert page.predictions[0].id == table.id
        assert page.cursor is not None
        assert len(client.predict("flights", [{"distance": 1}] * 1001).predictions) == 1001


def test_the_asynchronous_client_does_the_same(server: ServerProcess) -> None:
    async def body() -> None:
        async with AsyncClient(server.url) as client:
            ended = await client.wait((await client.submit("flights", ROWS)).id)
            assert ended.state == "succeeded"
            assert (await client.predictions(state="succeeded", limit=1)).predictions[0].id == ended.id

    asyncio.run(body())
