"""Connections to pods: kept, each a pod's own, replaced when the pod has closed them; no answer where there is none in time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from penstock_operator.pod_connections import Answered, PodConnections

BODY = b'{"revision": 3}'
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nPenstock-Bundle: flights@sha256:1\r\n\r\n%s" % (len(BODY), BODY)


class Pod:
    """Answers each request with these bytes; closes a connection after so many (0: never). `opened` and `asked` count."""

    def __init__(self, answer: bytes = GOOD, closes_after: int = 0) -> None:
        self.answer = answer
        self.closes_after = closes_after
        self.opened = self.asked = 0
        self.heads: list[bytes] = []
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            for number in range(1, 1000):
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                self.asked += 1
                writer.write(self.answer)
                await writer.drain()
                if number == self.closes_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.ended.set()


def with_pod(pod: Pod, use: Callable[[PodConnections, int], Awaitable[None]], timeout_s: float = 30.0) -> None:
    """Run `use` with connections and the port of a pod."""

    async def go() -> None:
        server = await asyncio.start_server(pod.serve, "127.0.0.1", 0)
        connections = PodConnections(timeout_s=timeout_s)
        try:
            await use(connections, server.sockets[0].getsockname()[1])
        finally:
            connections.close()
            server.close()

    asyncio.run(go())


async def ask(connections: PodConnections, port: int, uid: str = "one", most: int = 1000) -> Answered | None:
    return await connections.get((uid, "127.0.0.1", port), "/route", most)


def test_a_connection_is_kept_for_its_pod_and_for_no_other() -> None:
    pod = Pod()

    async def use(connections: PodConnections, port: int) -> None:
        for uid in ("one", "one", "another at the same address", "one"):
            found = await ask(connections, port, uid)
            assert found is not None
            assert (found.status, found.body, found.headers[b"penstock-bundle"]) == (200, BODY, b"flights@sha256:1")

    with_pod(pod, use)
    assert (pod.opened, pod.asked) == (2, 4)
    assert pod.heads[0].startswith(b"GET /route HTTP/1.1\r\nHost: 127.0.0.1:")


def test_a_pod_that_closed_it_meanwhile_is_asked_over_a_new_one() -> None:
    pod = Pod(closes_after=1)

    async def use(connections: PodConnections, port: int) -> None:
        for _ in range(3):
            found = await ask(connections, port)
            assert found is not None
            assert found.body == BODY
            await pod.ended.wait()
            pod.ended.clear()

    with_pod(pod, use)
    assert (pod.opened, pod.asked) == (3, 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n" + BODY,
        b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%s\r\na\r\n%s\r\n0\r\n\r\n" % (BODY[:5], BODY[5:]),
        GOOD.replace(b"\r\nPen", b"\r\nConnection: close\r\nPen"),
    ],
    ids=["to the end", "old", "chunked", "closed"],
)
def test_answers_of_other_servers(answer: bytes) -> None:
    pod = Pod(answer, closes_after=1)

    async def use(connections: PodConnections, port: int) -> None:
        for _ in range(2):
            found = await ask(connections, port)
            assert found is not None
            assert (found.status, found.body) == (200, BODY)

    with_pod(pod, use)


@pytest.mark.parametrize(
    "answer",
    [b"what?\r\n\r\n", GOOD[:-3], b"", GOOD.replace(b"Length: 15", b"Length: 2000") + b" " * 2000],
    ids=["no HTTP", "cut off", "nothing", "too long"],
)
def test_what_is_no_whole_answer_is_none(answer: bytes) -> None:
    async def use(connections: PodConnections, port: int) -> None:
        assert await ask(connections, port) is None

    with_pod(Pod(answer, closes_after=1), use)


def test_bytes_that_nobody_asked_for_are_not_the_next_answer() -> None:
    pod = Pod(GOOD + GOOD.replace(b"3", b"4"))

    async def use(connections: PodConnections, port: int) -> None:
        for _ in range(3):
            found = await ask(connections, port)
            assert found is not None
            assert found.body == BODY

    with_pod(pod, use)


def test_a_pod_that_says_nothing_has_not_answered() -> None:
    async def use(connections: PodConnections, port: int) -> None:
        assert await ask(connections, port) is None
        assert await ask(connections, 1) is None

    with_pod(Pod(b""), use, timeout_s=0.05)
