"""An HTTP server that follows a script, for tests of clients: wrong answers, halves of answers, ended connections.

async with ScriptedServer(b"HTTP/1.1 200 OK\\r\\n…", "close") as server: …ask 127.0.0.1:server.port…      server.requests
"""

import asyncio
from types import TracebackType
from typing import Self

Step = bytes | str


class ScriptedServer:
    """Answers each request with the next step, then with `always`: bytes to send (after which `CLOSE` at their end closes the
    connection), "close", or "hang". `requests` holds the head and body of each."""

    def __init__(self, *steps: Step, always: Step | None = None) -> None:
        self.steps = list(steps)
        self.always = always
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self.port = 0
        self.asked = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.server.close()
        for writer in self.writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(v.split(b":")[1]) for v in head.lower().split(b"\r\n") if v.startswith(b"content-length")), 0)
        self.requests.append((head, await reader.readexactly(length)))
        self.asked.set()
        step = self.steps.pop(0) if self.steps else self.always
        if step == "hang":
            return True
        if step == "close":
            return False
        assert isinstance(step, bytes), step
        writer.write(step.removesuffix(b"CLOSE"))
        await writer.drain()
        return not step.endswith(b"CLOSE")
