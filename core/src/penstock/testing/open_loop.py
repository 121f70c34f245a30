"""An open-loop load: requests leave by the clock, however slowly they are answered, as independent callers send them.

A closed loop (wrk) sends the next request when the last is answered, so a slow server is asked less, and what it made callers
wait is not seen (coordinated omission). Here a request's time runs from the moment that it was due: what it waits for a free
connection, or for a generator that is late itself, counts as the server's.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import cast


@dataclass
class OpenLoopResult:
    """`latencies_s` by status, each from the moment the request was due; `lost`: how many got no answer at all."""

    seconds: float
    sent: int = 0
    lost: int = 0
    latencies_s: dict[int, list[float]] = field(default_factory=dict)
    retry_after_ms: list[int] = field(default_factory=list)

    def count(self, status: int) -> int:
        return len(self.latencies_s.get(status, ()))

    def goodput(self, deadline_s: float) -> float:
        """Answers with 200 within the deadline, a second."""
        return sum(latency <= deadline_s for latency in self.latencies_s.get(200, ())) / self.seconds

    def quantile_s(self, share: float, *statuses: int) -> float:
        """A quantile of the latency of answers with these statuses; 0 if there is none."""
        found = sorted(latency for status in statuses for latency in self.latencies_s.get(status, ()))
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0


class OpenLoop:
    """Sends `request` (a whole HTTP request) at `rate` a second for `seconds`, over `connections` at most.

    The times between two requests are exponential, as those of many callers are. Ends when all are answered, or `patience_s`
    after the last was due.
    """

    def __init__(
        self,
        port: int,
        request: bytes,
        rate: float,
        seconds: float,
        *,
        connections: int = 500,
        patience_s: float = 5.0,
        seed: int = 1,
    ) -> None:
        self.port = port
        self.request = request
        self.result = OpenLoopResult(seconds)
        self._due = _arrivals(rate, seconds, seed)
        self._patience_s = patience_s
        self._most = connections
        self._waiting: deque[float] = deque()
        self._idle: list[_Caller] = []
        self._callers: set[_Caller] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._open = 0
        self._sent_all = False
        self._done = asyncio.Event()

    async def run(self) -> OpenLoopResult:
        """The result, once all is answered."""
        # Opened before: callers keep theirs, and a thousand handshakes at once are another test.
        await self._connect(self._most)
        began = time.monotonic()
        due = deque(began + at for at in self._due)
        while due:
            now = time.monotonic()
            while due and due[0] <= now:
                self._waiting.append(due.popleft())
                self.result.sent += 1
                self._open += 1
            self._send()
            if due:
                await asyncio.sleep(max(0.0, min(due[0] - time.monotonic(), 0.001)))
        self._sent_all = True
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), self._patience_s)
        self.result.lost += self._open
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for caller in list(self._callers):
            caller.transport.abort()
        return self.result

    def answered(self, caller: "_Caller", due: float, status: int, retry_after_ms: int | None, keep: bool) -> None:
        """One answer came."""
        self.result.latencies_s.setdefault(status, []).append(time.monotonic() - due)
        if retry_after_ms is not None:
            self.result.retry_after_ms.append(retry_after_ms)
        self._close_one()
        if keep:
            self._idle.append(caller)
            self._send()

    def gone(self, caller: "_Caller", due: float | None) -> None:
        """A connection was closed; `due`: the request that it carried."""
        self._callers.discard(caller)
        if caller in self._idle:
            self._idle.remove(caller)
        if due is not None:
            self.result.lost += 1
            self._close_one()

    def _close_one(self) -> None:
        self._open -= 1
        if self._sent_all and not self._open:
            self._done.set()

    def _send(self) -> None:
        waiting, idle = self._waiting, self._idle
        while waiting and idle:
            idle.pop().send(waiting.popleft(), self.request)
        missing = min(len(waiting) - len(self._opening), self._most - len(self._callers) - len(self._opening))
        for _ in range(missing):
            task = asyncio.ensure_future(self._connect(1))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, caller = await loop.create_connection(lambda: _Caller(self), "127.0.0.1", self.port)
            self._callers.add(caller)
            self._idle.append(caller)
        self._send()


class _Caller(asyncio.Protocol):
    """A connection with one request at a time; reads no more of an answer than its status, its length and when to come back."""

    transport: asyncio.Transport

    def __init__(self, owner: OpenLoop) -> None:
        self._owner = owner
        self._due: float | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, due: float, request: bytes) -> None:
        self._due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0 or self._due is None:
            return
        head = self._data[:end].lower() + b"\r\n"
        if len(self._data) < end + 4 + (_number(head, b"content-length: ") or 0):
            return
        due, self._due, self._data = self._due, None, b""
        self._owner.answered(self, due, int(head[9:12]), _number(head, b"retry-after-ms: "), b"connection: close" not in head)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._owner.gone(self, self._due)


def _number(head: bytes, name: bytes) -> int | None:
    start = head.find(name)
    if start < 0:
        return None
    start += len(name)
    return int(head[start : head.find(b"\r", start)])


def _arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    draw = random.Random(seed).expovariate
    found, at = [], draw(rate)
    while at < seconds:
        found.append(at)
        at += draw(rate)
    return found
