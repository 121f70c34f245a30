"""A store that is down, slow, restarted, locked or wants another password: a clear error within the timeout, then recovery."""

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.errors import InvalidInput, Overloaded, UpstreamUnavailable
from penstock.features.spec import StoreLayout, ViewLayout
from penstock.testing.servers import PostgresServer, RedisServer, Server, ServerMissing, free_port
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import FeatureStore, RowWrite, SetRead
from penstock_transformer.store.settings import StoreSettings

LAYOUT = StoreLayout("shop", 3, {"v": ViewLayout({"id": "int64"}, {"count": "int64", "name": "string"})})
QUICK = StoreSettings(timeout_s=0.5, backoff_s=0.01, max_backoff_s=0.02)
READ = [SetRead("v", [(1,)], ("count", "name"))]
ROW = RowWrite("v", (1,), {"count": 1, "name": "one"}, 100.0)
COLUMNS = (
    "entity_key {blob}, feature_name TEXT, value {blob}, value_text TEXT, vector_value {blob}, event_ts {time}, created_ts {time}"
)
RECOVERY_S = 20.0


@pytest.fixture(scope="module", params=["redis", "postgres"])
def made(request: pytest.FixtureRequest) -> Iterator[Server]:
    try:
        server: Server = RedisServer(password="secret", durable=True) if request.param == "redis" else PostgresServer()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with server:
        if isinstance(server, PostgresServer):
            asyncio.run(make_table(server))
        yield server


@pytest.fixture
def server(made: Server) -> Server:
    """The server of the module, up again after whatever the test before did to it."""
    if not made.running:
        made.start()
    made.resume()
    return made


async def make_table(server: PostgresServer) -> None:
    import asyncpg

    connection = await asyncpg.connect(server.url())
    columns = COLUMNS.format(blob="BYTEA", time="TIMESTAMPTZ")
    await connection.execute(f"CREATE TABLE shop_v ({columns}, PRIMARY KEY (entity_key, feature_name))")
    await connection.close()


def url_of(server: Any, **options: Any) -> str:
    return server.url(**options)  # type: ignore[no-any-return]


async def opened(server: Any, settings: StoreSettings = QUICK) -> FeatureStore:
    store = open_store(url_of(server), LAYOUT, settings)
    await recovered(store)
    await store.write([ROW])
    return store


async def recovered(store: FeatureStore) -> None:
    """Ask until it answers: a server that has just come up may still be loading."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        try:
            await store.read(READ)
            return
        except UpstreamUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


async def unavailable(store: FeatureStore) -> str:
    with pytest.raises(UpstreamUnavailable) as caught:
        await store.read(READ)
    assert "secret" not in str(caught.value)
    assert "p@ss" not in str(caught.value)
    return str(caught.value)


def test_down_at_start_then_up(server):
    server.kill()

    async def run() -> None:
        store = open_store(url_of(server), LAYOUT, QUICK)
        with pytest.raises(UpstreamUnavailable, match=r"cannot be reached"):
            await store.start()
        assert "cannot be reached" in await unavailable(store)
        await asyncio.get_running_loop().run_in_executor(None, server.start)
        await recovered(store)
        await store.close()

    asyncio.run(run())


def test_killed_between_reads_and_restarted(server):
    async def run() -> None:
        store = await opened(server)
        server.kill()
        await unavailable(store)
        await unavailable(store)
        await asyncio.get_running_loop().run_in_executor(None, server.start)
        await recovered(store)
        (found,) = await store.read(READ)
        assert found.columns["name"].to_list() == ["one"]
        await store.close()

    asyncio.run(run())


def test_killed_in_mid_read(server):
    async def run() -> None:
        store = await opened(server, StoreSettings(timeout_s=5, backoff_s=0.01))
        server.pause()
        reads = [asyncio.create_task(store.read(READ)) for _ in range(3)]
        await asyncio.sleep(0)
        server.kill()
        for result in await asyncio.gather(*reads, return_exceptions=True):
            assert isinstance(result, UpstreamUnavailable)
        await store.close()

    asyncio.run(run())


def test_slow_is_unavailable_within_the_timeout_and_recovers(server):
    async def run() -> None:
        store = await opened(server)
        server.pause()
        try:
            started = time.monotonic()
            assert "did not answer in 0.5 s" in await unavailable(store)
            # Generous, because machines are busy; without the timeout it would be for ever.
            assert time.monotonic() - started < 10
        finally:
            server.resume()
        await recovered(store)
        await store.close()

    asyncio.run(run())


def test_a_cancelled_reader_disturbs_no_other(server):
    async def run() -> None:
        store = await opened(server, StoreSettings(timeout_s=10))
        server.pause()
        gone = asyncio.create_task(store.read(READ))
        kept = asyncio.create_task(store.read(READ))
        await asyncio.sleep(0.01)
        gone.cancel()
        server.resume()
        (found,) = await kept
        assert found.columns["count"].to_list() == [1]
        assert (await asyncio.gather(gone, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        await store.close()

    asyncio.run(run())


def test_more_reads_than_allowed_are_overload(server):
    async def run() -> None:
        store = await opened(server, StoreSettings(timeout_s=10, max_in_flight=2, connections=1))
        server.pause()
        first = [asyncio.create_task(store.read(READ)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await store.read(READ)
        server.resume()
        await asyncio.gather(*first)
        await store.close()

    asyncio.run(run())


def test_wrong_password(server):
    async def run() -> str:
        store = open_store(url_of(server, password="wrong"), LAYOUT, QUICK)
        with pytest.raises(UpstreamUnavailable) as caught:
            await store.start()
        await store.close()
        return str(caught.value)

    text = asyncio.run(run())
    assert "WRONGPASS" in text or "password authentication failed" in text
    assert "wrong:" not in text


def test_connections_are_given_back(server):
    def sockets() -> int:
        links = []
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                links.append(os.readlink(f"/proc/self/fd/{name}"))
        return sum(link.startswith("socket:") for link in links)

    async def run() -> tuple[int, int, int]:
        before = sockets()
        store = await opened(server)
        await asyncio.gather(*(store.read(READ) for _ in range(50)))
        busy = sockets()
        for _ in range(3):
            server.pause()
            await unavailable(store)
            server.resume()
            await recovered(store)
        await store.close()
        return before, busy, sockets()

    before, busy, after = asyncio.run(run())
    assert busy - before <= QUICK.connections
    assert after <= before


def test_a_closed_store_stays_closed(server):
    async def run() -> None:
        store = await opened(server)
        await store.close()
        assert "closed" in await unavailable(store)
        await store.close()

    asyncio.run(run())


def test_a_driver_in_the_url_is_passed_over(server):
    if not isinstance(server, PostgresServer):
        return

    async def run() -> None:
        store = open_store(server.url().replace("postgresql://", "postgresql+psycopg://"), LAYOUT, QUICK)
        await recovered(store)
        await store.close()

    asyncio.run(run())


def test_nobody_listens():
    for url in (f"redis://127.0.0.1:{free_port()}", f"postgresql://u:p@127.0.0.1:{free_port()}/d"):

        async def run(url: str = url) -> None:
            store = open_store(url, LAYOUT, QUICK)
            with pytest.raises(UpstreamUnavailable):
                await store.start()
            await store.close()

        asyncio.run(run())


def test_what_answers_is_no_redis():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        async def run() -> None:
            async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await reader.read(100)
                writer.close()

            fake = await asyncio.start_server(talk, sock=listener)
            store = open_store(f"redis://127.0.0.1:{listener.getsockname()[1]}", LAYOUT, QUICK)
            with pytest.raises(UpstreamUnavailable, match="protocol"):
                await store.start()
            await store.close()
            fake.close()
            await fake.wait_closed()

        asyncio.run(run())


def test_redis_over_tls(tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    subprocess.run([*request.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    try:
        made = RedisServer(password="secret", tls=(certificate, key))
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with made as server:

        async def run(options: str) -> Any:
            store = open_store(f"{server.url(3)}{options}", LAYOUT, StoreSettings(timeout_s=5))
            try:
                await recovered_or_raise(store)
                await store.write([ROW])
                return (await store.read(READ))[0].columns["name"].to_list()
            finally:
                await store.close()

        async def recovered_or_raise(store: FeatureStore) -> None:
            await store.start()

        assert asyncio.run(run(f"?ssl_ca_certs={certificate}")) == ["one"]
        assert asyncio.run(run("?ssl_cert_reqs=none")) == ["one"]
        with pytest.raises(UpstreamUnavailable, match=r"(?i)certificate"):
            asyncio.run(run(""))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nothing",
        "mysql://h/d",
        "sqlite://",
        "redis://",
        "redis://h:x/0",
        "redis://h/zero",
        "redis://h?colour=red",
        "postgresql:///",
    ],
)
def test_urls_that_cannot_be_read(url):
    with pytest.raises(InvalidInput):
        open_store(url, LAYOUT)
