"""A predictor whose connection ends over a call is told from one that was never reached, over real sockets."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import DeadlineExceeded, NotReady, UpstreamUnavailable
from penstock.tensors import Tensor
from penstock.testing.servers import free_port
from penstock_transformer.call import ConnectionEnded
from penstock_transformer.predictor_client import PredictorClient

REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"
READY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def predictor(*turns):
    """A server that plays a turn for each connection, the last one again and again: bytes are its answer to a request, then the
    connection ends; None never answers."""
    played = 0
    writers = []

    async def serve(reader, writer):
        nonlocal played
        turn = turns[min(played, len(turns) - 1)]
        played += 1
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        if turn is not None:
            writer.write(turn)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = PredictorClient(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=0.2)
    try:
        yield client
    finally:
        await client.close()
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


def ask(client, deadline=None):
    inputs = [Tensor.from_array("x", np.ones((1, 2), np.float32))]
    return infer(client, InferRequest("m", inputs, Context("r", deadline=deadline)))


@pytest.mark.parametrize(
    "turns",
    [
        (b"",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",),
        (b"", REFUSAL),
    ],
    ids=["closed twice", "closed in its answer", "closed, then refused"],
)
def test_a_connection_that_ends_with_a_call_is_said(turns):
    async def go():
        async with predictor(*turns) as client:
            with pytest.raises(ConnectionEnded):
                await ask(client)

    asyncio.run(go())


def test_a_predictor_that_goes_away_for_good_has_ended_its_call():
    async def go():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            server.close()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = PredictorClient(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=5)
        with pytest.raises(ConnectionEnded):
            await ask(client)
        await client.close()

    asyncio.run(go())


def test_what_was_never_begun_is_not_said_to_have_ended():
    async def go():
        client = PredictorClient(f"127.0.0.1:{free_port()}", timeout_s=0.2)
        with pytest.raises(UpstreamUnavailable) as caught:
            await ask(client)
        assert not isinstance(caught.value, ConnectionEnded)
        assert not await client.answers("m", 1.0)
        await client.close()
        async with predictor(REFUSAL) as refusing:
            with pytest.raises(NotReady):
                await ask(refusing)
        async with predictor(None) as silent:
            with pytest.raises(DeadlineExceeded):
                await ask(silent)

    asyncio.run(go())


def test_a_predictor_is_asked_whether_it_answers():
    async def go():
        async with predictor(READY) as client:
            assert await client.answers("m", 1.0)
        async with predictor(REFUSAL) as client:
            assert not await client.answers("m", 1.0)
        async with predictor(None) as client:
            assert not await client.answers("m", 0.05)

    asyncio.run(go())
