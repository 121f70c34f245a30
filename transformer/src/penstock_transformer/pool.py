"""A bounded pool of kept-alive connections to one predictor address, and the rules of trying again.

    Call --send--> idle connection | a new one | a bounded queue --> answer | retry once | error

Tried again, once, on another connection: connection refused, 503, and a connection closed before any byte of the answer (the
request was not run, or running it twice does no harm: predictions have no side effects). Never on a timeout: the predictor may
be busy with it, and a second copy would make that worse. A connection to a DNS name is used for `max_age_s` at most, because
only a new one sees new pods.
"""

import asyncio
import ipaddress
import random
import ssl
import time
from collections import deque
from collections.abc import Callable

from penstock.errors import DeadlineExceeded, Overloaded, PenstockError, UpstreamUnavailable
from penstock.serving.security.client_tls import ClientTls
from penstock_transformer.connection import Answer, Connection

_ATTEMPTS = 2


class Call:
    """One request on its way through a pool. `done` hears of its end once: an `Answer`, or the error.

    `deadline` in seconds of `time.monotonic()`; `prefer`: the digest that the pod should hold, "" for any.
    """

    __slots__ = ("attempts", "connection", "deadline", "done", "finished", "parts", "pool", "prefer", "timer")

    def __init__(
        self, parts: list[bytes], deadline: float, done: Callable[[Answer | PenstockError], None], prefer: str = ""
    ) -> None:
        self.parts = parts
        self.deadline = deadline
        self.done = done
        self.prefer = prefer
        self.attempts = 0
        self.finished = False
        self.connection: Connection | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.pool: Pool | None = None

    def finish(self, outcome: Answer | PenstockError) -> None:
        """End it; later outcomes are ignored."""
        if self.finished:
            return
        self.finished = True
        self.connection = None
        if self.timer is not None:
            self.timer.cancel()
        self.done(outcome)

    def answered(self, connection: Connection, answer: Answer) -> None:
        assert self.pool is not None
        self.pool.answered(self, connection, answer)

    def lost(self, _connection: Connection, *, begun: bool, reason: str) -> None:
        assert self.pool is not None
        if begun:
            self.finish(UpstreamUnavailable(reason))
        else:
            self.pool.again(self, UpstreamUnavailable(reason))


class Pool:
    """Connections to `host:port`. `send` never raises; a call's end is told to the call."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_connections: int = 32,
        max_waiting: int = 1024,
        connect_timeout_s: float = 2.0,
        max_age_s: float = 30.0,
        tls: ClientTls | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._connect_timeout_s = connect_timeout_s
        self._tls = tls
        self._max_age_s = float("inf") if is_address(host) else max_age_s
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting: deque[Call] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False

    def send(self, call: Call) -> None:
        """Start a call: on an idle connection, a new one, or when one comes free."""
        call.pool = self
        left = call.deadline - time.monotonic()
        if left <= 0:
            call.finish(DeadlineExceeded("the deadline had passed before the predictor was called"))
            return
        call.timer = asyncio.get_running_loop().call_later(left, self._expire, call)
        self._dispatch(call)

    def answered(self, call: Call, connection: Connection, answer: Answer) -> None:
        """A whole answer came: the connection is free again, the call ends or is tried once more."""
        if answer.status == 503:
            connection.closed = True
            connection.transport.close()
            if call.attempts < _ATTEMPTS and not call.finished:
                self._release(connection)
                self._dispatch(call)
                return
        bundle = answer.headers.get(b"penstock-bundle")
        if bundle is not None:
            connection.digest = bundle.rpartition(b"@")[2].decode("latin-1")
        self._release(connection)
        call.finish(answer)

    def again(self, call: Call, error: PenstockError) -> None:
        """The call did not reach a predictor: try once more, or end it with `error`."""
        if call.finished:
            return
        call.connection = None
        if call.attempts >= _ATTEMPTS or self._closed:
            call.finish(error)
        else:
            self._dispatch(call)

    async def close(self) -> None:
        """Close every connection; calls in progress end with UpstreamUnavailable."""
        self._closed = True
        for task in list(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft().finish(UpstreamUnavailable("the connection pool is closed"))
        for connection in list(self._all):
            connection.transport.close()

    def _dispatch(self, call: Call) -> None:
        connection = self._idle_connection(call.prefer)
        if connection is not None:
            self._start(call, connection)
            return
        if len(self._waiting) >= self._max_waiting:
            call.finish(Overloaded("too many calls wait for the predictor"))
            return
        self._waiting.append(call)
        self._open_if_needed()

    def _idle_connection(self, prefer: str) -> Connection | None:
        """The freshest idle connection, rather one whose pod is known to hold the bundle than one known not to."""
        oldest = time.monotonic() - self._max_age_s
        idle = self._idle
        for connection in [c for c in idle if c.closed or c.opened < oldest] if idle and idle[0].opened < oldest else ():
            idle.remove(connection)
            connection.transport.close()
        if not idle:
            return None
        if not prefer or idle[-1].digest in (prefer, ""):
            return idle.pop()
        for at in range(len(idle) - 1, -1, -1):
            if idle[at].digest in (prefer, ""):
                return idle.pop(at)
        if len(self._all) + len(self._opening) < self._max_connections:
            return None
        return idle.pop()

    def _start(self, call: Call, connection: Connection) -> None:
        call.attempts += 1
        call.connection = connection
        connection.start(call)

    def _release(self, connection: Connection) -> None:
        if connection.closed:
            self._open_if_needed()
            return
        while self._waiting:
            call = self._waiting.popleft()
            if not call.finished:
                self._start(call, connection)
                return
        if connection.opened < time.monotonic() - self._max_age_s:
            connection.closed = True
            connection.transport.close()
        else:
            self._idle.append(connection)

    def _open_if_needed(self) -> None:
        if self._closed:
            return
        while len(self._opening) < len(self._waiting) and len(self._all) + len(self._opening) < self._max_connections:
            task = asyncio.ensure_future(self._open(time.monotonic()))
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: "asyncio.Task[None]") -> None:
        self._opening.discard(task)
        if not task.cancelled():
            self._open_if_needed()

    async def _open(self, started: float) -> None:
        """Open a connection for the oldest waiting call. If that fails, it has failed for every call that waits for one."""
        loop = asyncio.get_running_loop()
        refused = True
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                found = await loop.getaddrinfo(self.host, self.port, type=1)
                address = random.choice(found)
                _, connection = await loop.create_connection(
                    lambda: Connection(self._forget, started),
                    *address[4][:2],
                    family=address[0],
                    ssl=None if self._tls is None else self._tls.context(),
                    # The certificate is for the name that was asked for, whichever pod is behind it.
                    server_hostname=None if self._tls is None else self.host,
                )
        except TimeoutError:
            refused, reason = (
                False,
                f"no connection to the predictor at {self.host}:{self.port} within {self._connect_timeout_s:g} s",
            )
        except OSError as error:
            what = _tls_reason(error) if isinstance(error, ssl.SSLError) else error.strerror or error
            reason = f"the predictor at {self.host}:{self.port} cannot be reached: {what}"
        else:
            self._all.add(connection)
            self._release(connection)
            return
        self._fail_waiting(UpstreamUnavailable(reason), refused)

    def _fail_waiting(self, error: PenstockError, refused: bool) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            if call.finished:
                continue
            call.attempts += 1
            if refused and call.attempts < _ATTEMPTS:
                self._waiting.append(call)
            else:
                call.finish(error)

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._open_if_needed()

    def _expire(self, call: Call) -> None:
        if call.finished:
            return
        connection = call.connection
        if connection is not None:
            connection.abort()
        call.finish(DeadlineExceeded("the predictor did not answer in time"))


def _tls_reason(error: ssl.SSLError) -> str:
    return f"TLS: {getattr(error, 'verify_message', None) or (error.reason or 'failed').lower().replace('_', ' ')}"


def is_address(host: str) -> bool:
    """Whether a host is an IP address, or this machine's own name, which needs no looking up again."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
