"""A Kubernetes API server that is one socket, for tests of what lists and watches: it denies, falls silent, hangs up on demand.

    class Pods(FakeKubernetes): …what it holds, by `respond`…      async with Pods() as api: KubeApi("127.0.0.1", api.port)

How a real API server behaves is tested against one (`penstock.testing.kubernetes`); this does at a wish what that does rarely.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson

Asked = Mapping[str, list[str]]


class FakeKubernetes:
    """`denied`: the status that every request gets; `silent`: none is answered. `watches` holds the resource version that each
    watch began at, `tokens` the bearer token of each request that had one."""

    def __init__(self) -> None:
        self.denied: int | None = None
        self.silent = False
        self.watches: list[str] = []
        self.tokens: list[str] = []
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def respond(self, path: str, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer a GET of `path` with the query `asked`; returns when the connection is to be closed."""
        raise NotImplementedError

    def answer(self, writer: asyncio.StreamWriter, status: int, document: Mapping[str, Any]) -> None:
        """A whole answer."""
        body = orjson.dumps(document)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    def begin_watch(self, writer: asyncio.StreamWriter, asked: Asked) -> None:
        """The head of a watch; `send` follows."""
        self.watches.append(asked["resourceVersion"][0])
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def send(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        """An event's line, in two chunks: it need not come in one piece."""
        for part in (line[:7], line[7:]):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()

    def hang_up(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        # The sockets are closed a turn later.
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._writers.add(writer)
        self._serving.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.tokens += [line.split()[-1] for line in head.split("\r\n") if line.startswith("Authorization: Bearer ")]
            target = urlsplit(head.split()[1])
            if self.silent:
                await reader.read()
            elif self.denied is not None:
                self.answer(writer, self.denied, {"kind": "Status", "code": self.denied, "message": "not for you"})
            else:
                await self.respond(target.path, parse_qs(target.query), writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
