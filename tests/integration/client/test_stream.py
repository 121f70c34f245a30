"""The asyncio client's WebSocket stream against the real server, and against servers that lose it."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from penstock.client import AsyncClient, RetryPolicy
from penstock.errors import DeadlineExceeded, InvalidInput, NotFound, Overloaded, UpstreamUnavailable, WrongBundle
from penstock.testing.server import ServerProcess

RETRY = RetryPolicy(attempts=3, base_s=0.001)
ONE = {"distance": np.array([500], np.float32)}


@pytest.mark.parametrize("binary", [True, False])
def test_more_at_once_than_the_credit(server: ServerProcess, binary: bool) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client, client.stream("flights", version="1") as stream:
            asked = [stream.infer({"distance": np.array([at], np.float32)}, binary=binary) for at in range(400)]
            found = await asyncio.gather(*asked)
            single = await client.infer("flights", {"distance": np.arange(400, dtype=np.float32)})
        assert [one.outputs["late"][0, 0] for one in found] == single.outputs["late"].ravel().tolist()
        assert {one.bundle for one in found} == {single.bundle}

    asyncio.run(main())


def test_errors_are_those_of_their_request(server: ServerProcess) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client, client.stream("flights") as stream:
            good, bad = await asyncio.gather(
                stream.infer(ONE, request_id="r-1", priority=1, timeout_s=5),
                stream.infer({"distance": np.zeros((1, 2), np.float32)}),
                return_exceptions=True,
            )
            assert not isinstance(good, BaseException)
            assert good.request_id == "r-1"
            assert isinstance(bad, InvalidInput)
            assert bad.field == "inputs[0].shape"
            with pytest.raises(WrongBundle):
                await stream.infer(ONE, expect_bundle="sha256:" + "0" * 64)

    asyncio.run(main())


def test_compression_is_not_taken_up(server: ServerProcess) -> None:
    async def main() -> None:
        async with connect(f"ws{server.url.removeprefix('http')}/v2/models/flights/stream", compression="deflate") as socket:
            assert await socket.recv() == '{"credit":128}'
            assert socket.protocol.extensions == []

    asyncio.run(main())


def test_a_model_that_is_not_there(server: ServerProcess) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client, client.stream("nobody") as stream:
            with pytest.raises(NotFound, match="nobody"):
                await stream.infer(ONE)

    asyncio.run(main())


def scripted(handler: Callable[[ServerConnection], Any], use: Callable[[AsyncClient], Any], **options: Any) -> None:
    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0) as listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            async with AsyncClient(f"127.0.0.1:{port}", retry=RETRY, **options) as client:
                await use(client)

    asyncio.run(main())


ANSWER = '{{"id": "{}", "model_name": "m", "outputs": [], "parameters": {{"bundle": "m@1"}}}}'


def id_in(frame: str | bytes) -> str:
    assert isinstance(frame, str)
    return frame.split('"id":"')[1].split('"')[0]


def test_a_lost_connection_is_opened_anew() -> None:
    opened = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal opened
        opened += 1
        await connection.send('{"credit": 1}')
        request = id_in(await connection.recv())
        if opened > 1:
            await connection.send(ANSWER.format(request))
            await connection.wait_closed()

    async def use(client: AsyncClient) -> None:
        async with client.stream("m") as stream:
            assert (await stream.infer(ONE, binary=False)).bundle == "m@1"

    scripted(handler, use)
    assert opened == 2


def test_a_server_that_keeps_losing_it() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send('{"credit": 8}')
        await connection.recv()

    async def use(client: AsyncClient) -> None:
        async with client.stream("m") as stream:
            found = await asyncio.gather(*(stream.infer(ONE) for _ in range(4)), return_exceptions=True)
            assert all(isinstance(error, UpstreamUnavailable) for error in found), found

    scripted(handler, use)


def test_a_busy_server_is_asked_again() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send('{"credit": 1}')
        first = id_in(await connection.recv())
        refusal = '{{"id": "{}", "error": "full", "kind": "overloaded", "status": 429, "retry_after_ms": 5}}'
        await connection.send(refusal.format(first))
        await connection.send('{"credit": 1}')
        await connection.send(ANSWER.format(id_in(await connection.recv())))
        await connection.wait_closed()

    async def use(client: AsyncClient) -> None:
        async with client.stream("m") as stream:
            assert (await stream.infer(ONE, binary=False)).model == "m"

    scripted(handler, use)


def test_deadlines_with_and_without_credit() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send('{"credit": 1}')
        await connection.wait_closed()

    async def use(client: AsyncClient) -> None:
        async with client.stream("m") as stream:
            found = await asyncio.gather(*(stream.infer(ONE, timeout_s=0.1) for _ in range(3)), return_exceptions=True)
            assert all(isinstance(error, DeadlineExceeded) for error in found), found

    scripted(handler, use)


def test_frames_of_something_else() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send('{"credit": 1}')
        await connection.recv()
        await connection.send("hello")
        await connection.wait_closed()

    async def use(client: AsyncClient) -> None:
        async with client.stream("m") as stream:
            with pytest.raises(UpstreamUnavailable, match="not JSON"):
                await stream.infer(ONE)

    scripted(handler, use)


def test_an_overloaded_server_says_so_in_the_end() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send('{"credit": 9}')
        async for frame in connection:
            refusal = '{{"id": "{}", "error": "full", "kind": "overloaded", "status": 429, "retry_after_ms": 1}}'
            await connection.send(refusal.format(id_in(frame)))

    async def use(client: AsyncClient) -> None:
        async with client.stream("m") as stream:
            with pytest.raises(Overloaded):
                await stream.infer(ONE, binary=False)

    scripted(handler, use)
