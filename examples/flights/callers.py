"""Callers of the flights model: requests at a steady rate, for many flights, each from a caller of its own, until Ctrl-C.

    python examples/flights/callers.py http://127.0.0.1:8080 --per_second 200

What a rollout by evidence needs is requests; these stand in for yours. They leave by the clock however slowly they are answered,
as those of independent callers do. A few of them (`--unknown`) are for flights whose plane the fleet's table does not have:
the bundle's defaults stand in there.

At the end it says which bundle answered how many, with which status, and how fast; with --json as one line of JSON.
"""

import argparse
import asyncio
import json
import random
import secrets
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from company import TABLES, rows

MOST_WAITING = 1000
"""Requests on their way at once; one that would be more is not sent."""
TIMEOUT_S = 30.0
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def flights() -> tuple[list[str], list[str]]:
    """Ids of the flights that the example's store has: those of planes that the fleet's table knows, and the others."""
    planes = {row[0] for row in rows("planes.csv", TABLES["planes"]) if row[1] is not None}
    known: list[str] = []
    unknown: list[str] = []
    columns = list(TABLES["flights"])
    year, month, day, carrier, number, plane, origin = (
        columns.index(name) for name in ("year", "month", "day", "carrier", "flight", "tailnum", "origin")
    )
    for row in rows("flights.csv", columns):
        if row[month] == "12" and 22 <= int(row[day] or 0) <= 26 and row[plane] is not None:
            name = f"{row[year]}12{row[day]}-{row[carrier]}-{row[number]}-{row[origin]}"
            (known if row[plane] in planes else unknown).append(name)
    return known, unknown


@dataclass
class Answers:
    """What one bundle answered. `first` and `last` are Unix times."""

    first: float = 0.0
    last: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)

    def add(self, status: int, latency_s: float) -> None:
        self.last = time.time()
        self.first = self.first or self.last
        self.statuses[status] += 1
        self.latencies_s.append(latency_s)

    def told(self) -> dict[str, Any]:
        found = sorted(self.latencies_s)
        quantiles = {f"p{per_cent}_ms": round(1e3 * found[len(found) * per_cent // 100], 1) for per_cent in (50, 90, 99)}
        return {"first": self.first, "last": self.last, "statuses": dict(sorted(self.statuses.items())), **quantiles}


class Callers:
    """Sends to one host, over as many connections as requests are on their way at once."""

    def __init__(self, url: str, per_second: float, unknown: float) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.sent = self.unsent = 0
        self.failures: Counter[str] = Counter()
        self.answers: dict[str, Answers] = {}
        self._per_second, self._unknown = per_second, unknown
        self._flights = flights()
        self._idle: list[Connection] = []
        self._waiting: set[asyncio.Task[None]] = set()
        # A caller of an earlier run is another one.
        self._prefix = secrets.token_hex(4)

    async def run(self, ended: asyncio.Event) -> None:
        """Until `ended`, and all that was sent is answered."""
        due = time.monotonic()
        while not ended.is_set():
            due += random.expovariate(self._per_second)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(self._waiting) >= MOST_WAITING:
                self.unsent += 1
                continue
            self.sent += 1
            task = asyncio.create_task(self._ask(self.sent, due))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
        await asyncio.gather(*self._waiting)
        for _, writer in self._idle:
            writer.close()

    async def _ask(self, number: int, due: float) -> None:
        known, unknown = self._flights
        flight = random.choice(unknown if random.random() < self._unknown else known)
        head = f"GET /predict/{flight} HTTP/1.1\r\nHost: {self.host}\r\nPenstock-Route-Key: {self._prefix}-{number}\r\n\r\n"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                connection = await self._connection()
                connection[1].write(head.encode())
                status, headers = await _read(connection[0])
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.failures[f"{type(error).__name__}: {error}"[:120]] += 1
            return
        self.answers.setdefault(headers.get("penstock-bundle", ""), Answers()).add(status, time.monotonic() - due)
        if headers.get("connection") == "close":
            connection[1].close()
        else:
            self._idle.append(connection)

    async def _connection(self) -> Connection:
        """One that nobody uses and the server has not closed, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection[0].at_eof():
                return connection
            connection[1].close()
        return await asyncio.open_connection(self.host, self.port)

    def told(self) -> dict[str, Any]:
        """What came of all that was sent, as JSON has it."""
        answers = {name: one.told() for name, one in self.answers.items()}
        return {"sent": self.sent, "unsent": self.unsent, "failures": self.failures, "answers": answers}


async def _read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer; its body is read and forgotten."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    await reader.readexactly(int(headers.get("content-length", "0")))
    return int(first.split()[1]), headers


def show(told: dict[str, Any]) -> None:
    """For people: a line a bundle."""
    late = f", {told['unsent']} not, since {MOST_WAITING} waited for their answer" if told["unsent"] else ""
    print(f"{told['sent']} requests sent{late}")
    for name, one in told["answers"].items():
        statuses = ", ".join(f"{count} with {status}" for status, count in one["statuses"].items())
        print(f"{name[:31] or 'nobody'}: {statuses}; p50 {one['p50_ms']} ms, p99 {one['p99_ms']} ms")
    for text, count in told["failures"].items():
        print(f"{count} times {text}")


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="where the transformer answers, http://HOST:PORT")
    parser.add_argument("--per_second", type=float, default=50.0, help="requests a second (%(default)s)")
    parser.add_argument("--unknown", type=float, default=0.02, help="share of flights with an unknown plane (%(default)s)")
    parser.add_argument("--json", action="store_true", help="tell the end as a line of JSON")
    arguments = parser.parse_args()
    callers, ended = Callers(arguments.url, arguments.per_second, arguments.unknown), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await callers.run(ended)
    if arguments.json:
        print(json.dumps(callers.told()))
    else:
        show(callers.told())
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
