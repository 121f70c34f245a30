"""A bounded pool of kept-alive connections to one pod, or to one address behind which there are pods.

    Call --send--> idle connection | a new one | a bounded queue --> answer | error | back to the spread, for another try

Behind the address of a Service any pod may answer, and only a new connection sees new pods: there a connection is used for
`max_age_s` at most. What may be tried again is the spread's to decide; the pool says what happened.
"""

import asyncio
import time
from typing import Protocol

from penstock.errors import Cancelled, Overloaded, PenstockError, UpstreamUnavailable
from penstock.serving.security.client_tls import ClientTls
from penstock_transformer.call import Call, NoPod, WaitingCalls
from penstock_transformer.connection import Answer, Connection, failure_of
from penstock_transformer.endpoints import Endpoint

_REFUSED = frozenset({412, 503})


class Owner(Protocol):
    """Decides on calls that did not end well."""

    def again(self, call: Call, pool: "Pool", outcome: Answer | PenstockError) -> bool:
        """Take the call for another try, if there may be one; whether it was taken."""


class Pool:
    """Connections to one endpoint. `send` never raises; a call's end is told to the call.

    `rows`: those of the calls that are here and have no answer yet. `name`: whom a certificate must be for. `digest`: the bundle
    that was named here last. `aside_until`: no calls before that moment, if another pod can take them.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        owner: Owner,
        *,
        name: str,
        max_connections: int = 32,
        max_waiting: int = 1024,
        max_waiting_bytes: int = 256 * 2**20,
        connect_timeout_s: float = 2.0,
        max_age_s: float = float("inf"),
        tls: ClientTls | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.rows = 0
        self.digest = ""
        self.failures = 0
        self.aside_until = 0.0
        self._owner = owner
        self._name = name
        self._max_connections = max_connections
        self._connect_timeout_s = connect_timeout_s
        self._max_age_s = max_age_s
        self._tls = tls
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting = WaitingCalls(max_waiting, max_waiting_bytes)
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        self._retired = False

    @property
    def busy(self) -> bool:
        """Whether a call is here that has not ended."""
        return self.rows > 0

    def send(self, call: Call) -> None:
        """Start a call: on an idle connection, a new one, or when one comes free."""
        call.enter(self)
        if call.ended_at is not None:
            self._drop_idle()
        connection = self._idle_connection(call.prefer)
        if connection is not None:
            self._start(call, connection)
            return
        if self._waiting.push(call):
            self._open_if_needed()
        else:
            call.finish(Overloaded("too many calls wait for the predictor"))

    def answered(self, call: Call, connection: Connection, answer: Answer) -> None:
        """A whole answer came: the connection is free again, the call ends or is tried once more."""
        if answer.status == 503:
            connection.closed = True
            connection.transport.close()
        else:
            self.failures = 0
        bundle = answer.headers.get(b"penstock-bundle")
        if bundle is not None:
            connection.digest = self.digest = bundle.rpartition(b"@")[2].decode("latin-1")
        self._release(connection)
        if call.finished or answer.status not in _REFUSED or not self._owner.again(call, self, answer):
            call.finish(answer)

    def failed(self, call: Call, error: PenstockError) -> None:
        """The call did not reach a predictor: it may be tried once more, or ends with `error`."""
        if not call.finished and (self._closed or not self._owner.again(call, self, error)):
            call.finish(error)

    def sweep(self) -> None:
        """Give up the calls that nobody waits for: a run that has not begun is spared, its connection is not used again."""
        for connection in list(self._all):
            call = connection.exchange
            if isinstance(call, Call) and call.abandoned:
                connection.abort()
                call.finish(Cancelled("the caller is gone"))
        for call in self._waiting.take_abandoned():
            call.finish(Cancelled("the caller is gone"))

    def retire(self) -> None:
        """The pod is gone, or going: what it has begun it may finish, nothing more is sent there."""
        self._retired = True
        for call in self._waiting.clear():
            self.failed(call, NoPod("the predictor's pod is gone"))
        for connection in self._idle:
            connection.transport.close()
        self._idle.clear()

    async def close(self) -> None:
        """Close every connection; calls in progress end with UpstreamUnavailable."""
        self._closed = True
        for task in list(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for call in self._waiting.clear():
            call.finish(UpstreamUnavailable("the connection pool is closed"))
        for connection in list(self._all):
            # Not `close`: over TLS that waits for the other side's goodbye, for longer than this program will be there.
            connection.transport.abort()
        await asyncio.sleep(0)

    def _drop_idle(self) -> None:
        """A connection has ended with a call: others may have, too, and would say so only to what is sent over them next."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

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
            call = self._waiting.pop()
            if not call.finished:
                self._start(call, connection)
                return
        if self._retired or connection.opened < time.monotonic() - self._max_age_s:
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
        endpoint = self.endpoint
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._forget, started),
                    endpoint.host,
                    endpoint.port,
                    ssl=None if self._tls is None else self._tls.context(),
                    # The certificate is for the name that was asked for, whichever pod is behind it.
                    server_hostname=None if self._tls is None else self._name,
                )
        except TimeoutError:
            self._fail_waiting(
                f"no connection to the predictor at {endpoint} within {self._connect_timeout_s:g} s", refused=False
            )
        except (OSError, ValueError) as error:  # a name that IDNA or TLS does not take is a ValueError
            self._fail_waiting(f"the predictor at {endpoint} cannot be reached: {failure_of(error)}", refused=True)
        else:
            self._all.add(connection)
            self._release(connection)

    def _fail_waiting(self, reason: str, *, refused: bool) -> None:
        for call in self._waiting.clear():
            if call.finished:
                continue
            call.attempts += 1
            if refused:
                self.failed(call, NoPod(reason))
            else:
                # A time-out may be a busy pod: a second copy would make that worse.
                call.finish(UpstreamUnavailable(reason))

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._open_if_needed()
