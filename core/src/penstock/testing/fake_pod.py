"""A predictor's pod that is one socket, for tests of who calls which pod: it answers, refuses, hangs and dies as it is told to.

pod = await FakePod(number, answer).open()     pod.says = "hang"; await pod.asked.wait(); pod.release.set()     await pod.close()
"""

import asyncio
from typing import Self

import orjson


class FakePod:
    """Answers every v2 infer with `says`: bytes, "close", or "hang" (until `release`, then `answer`). `rows` holds the first
    input's rows of each request; `left` is set when a caller has gone."""

    def __init__(self, number: int, answer: bytes) -> None:
        self.number = number
        self.says: bytes | str = answer
        self.requests = 0
        self.rows: list[int] = []
        self.left = asyncio.Event()
        self.asked = asyncio.Event()
        self.release = asyncio.Event()
        self._answer = answer
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> Self:
        """Listen on a port that the kernel chooses."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """End it with its connections."""
        self.server.close()
        self.release.set()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (says := await self._asked(reader)) is not None:
                writer.write(says)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        writer.close()

    async def _asked(self, reader: asyncio.StreamReader) -> bytes | None:
        """Read a request; what to say to it, None to hang up."""
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        body = await reader.readexactly(int(fields[b"content-length"]))
        self.rows.append(orjson.loads(body[: int(fields[b"inference-header-content-length"])])["inputs"][0]["shape"][0])
        self.requests += 1
        self.asked.set()
        says = self.says
        if says == "close":
            return None
        if isinstance(says, bytes):
            return says
        ends = {asyncio.ensure_future(reader.read(1)), asyncio.ensure_future(self.release.wait())}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        # The next request is read only when nobody else reads any more.
        await asyncio.gather(*ends, return_exceptions=True)
        if reader.at_eof():
            self.left.set()
            return None
        return self._answer
