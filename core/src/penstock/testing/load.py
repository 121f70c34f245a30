"""A small closed-loop load of plain requests over kept connections, which tells refused connections from failed requests.

For tests of draining and restarts: what matters is not speed but whether any request that a server took went wrong.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from penstock.testing.raw_http import RawConnection


@dataclass
class LoadResult:
    """`statuses` counts answers; `failures` describes requests that got none; `refused` counts connections that were not made."""

    statuses: dict[int, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    refused: int = 0

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())


class Load:
    """`clients` threads that each send `request`, read the answer, and send again, until connections are refused or `stop`.

    A client whose answer says `Connection: close` opens a new connection, as HTTP wants it.
    """

    def __init__(self, port: int, request: bytes, clients: int = 8) -> None:
        self.port = port
        self.request = request
        self.result = LoadResult()
        self._lock = threading.Condition()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def wait_answered(self, count: int, within_s: float = 30.0) -> None:
        """Wait until so many more requests have been answered. Raises TimeoutError."""
        with self._lock:
            wanted = self.result.answered + count
            if not self._lock.wait_for(lambda: self.result.answered >= wanted, within_s):
                raise TimeoutError(f"{self.result.answered} of {wanted} requests answered; failures: {self.result.failures[:5]}")

    def stop(self, within_s: float = 30.0) -> LoadResult:
        """Let every client finish its request; the result."""
        self._stopping.set()
        return self.join(within_s)

    def join(self, within_s: float = 30.0) -> LoadResult:
        """Wait until every client has ended by itself (the server refuses connections); the result."""
        for thread in self._threads:
            thread.join(within_s)
        return self.result

    def _run(self) -> None:
        connection: RawConnection | None = None
        while not self._stopping.is_set():
            if connection is None:
                try:
                    connection = RawConnection(self.port)
                except ConnectionRefusedError:
                    self._note(lambda result: setattr(result, "refused", result.refused + 1))
                    return
            connection = self._once(connection)
        if connection is not None:
            connection.close()

    def _once(self, connection: RawConnection) -> RawConnection | None:
        """One request; the connection, if it can be used again."""
        try:
            answer = connection.send(self.request).answer()
        except (OSError, EOFError) as error:
            text = repr(error)
            self._note(lambda result: result.failures.append(text))
            connection.close()
            return None
        self._note(lambda result: result.statuses.__setitem__(answer.status, result.statuses.get(answer.status, 0) + 1))
        if answer.headers.get("connection") == "close":
            connection.close()
            return None
        return connection

    def _note(self, change: Callable[[LoadResult], object]) -> None:
        with self._lock:
            change(self.result)
            self._lock.notify_all()
