"""Calls over the pods of a predictor: the less loaded of two, and another one where the first would not have it.

    Call --send--> two pods drawn --> the one with fewer rows outstanding --> its Pool
         again <-- refused, closed before any byte, 503, 412: once, elsewhere if there is an elsewhere; never on a time-out
         NoPod <-- there is none, or all that were tried refuse: the pipeline may ask another bundle of the route

Drawing two and taking the better one needs no agreement between transformers, and does not send all of them to the pod that
happened to be idle (Mitzenmacher, "The power of two choices", 2001). Rows are counted, not calls: a call may hold one or a
thousand. A pod that refuses connections is set aside for a while, unless there is no other.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from penstock.errors import Overloaded, PenstockError, UpstreamUnavailable
from penstock_transformer.call import ATTEMPTS, Call, NoPod, WaitingCalls
from penstock_transformer.connection import Answer
from penstock_transformer.endpoints import Endpoint, EndpointSource
from penstock_transformer.pool import Owner, Pool

FIRST_ASIDE_S = 0.5
LONGEST_ASIDE_S = 30.0
# More than enough for the longest. A pod may be away for days, and a power that grows with each failure ends in an OverflowError.
_DOUBLINGS = 16
SWEEP_S = 0.05
_MAX_UNPLACED = 1024
_MAX_UNPLACED_BYTES = 256 * 2**20


class Spread:
    """The pods that a source knows of, each with its own connections. `make` opens a pool to an endpoint, owned by this."""

    def __init__(self, source: EndpointSource, make: Callable[[Endpoint, Owner], Pool]) -> None:
        self._source = source
        self._make = make
        self._pools: dict[Endpoint, Pool] = {}
        self._leaving: set[Pool] = set()
        self._unplaced = WaitingCalls(_MAX_UNPLACED, _MAX_UNPLACED_BYTES)
        self._known = False
        self._started = False
        self._closed = False
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def pods(self) -> int:
        """How many endpoints are known at present."""
        return len(self._pools)

    @property
    def aside(self) -> int:
        """How many of them are set aside, because they refused or could not be reached."""
        now = time.monotonic()
        return sum(pool.aside_until > now for pool in self._pools.values())

    def send(self, call: Call) -> None:
        """Start a call on the pod that suits it best; it waits while none is known yet."""
        if not self._started:
            self._started = True
            self._source.start(self._changed)
        if self._sweeper is None and call.caller is not None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        if call.watch_deadline():
            self._place(call)

    def again(self, call: Call, pool: Pool, outcome: Answer | PenstockError) -> bool:
        """Whether a call that was refused is tried once more: on another pod, or where there is none on another connection."""
        if not isinstance(outcome, Answer) or outcome.status == 503:
            self._set_aside(pool)
        if call.attempts >= ATTEMPTS or self._closed:
            return False
        others = [other for other in self._pools.values() if other is not pool]
        if isinstance(outcome, Answer) and outcome.status == 412:
            # Another pod may hold the bundle while a Deployment rolls; the same one will say the same.
            others = [other for other in others if other.digest in (call.prefer, "")]
            if not others:
                return False
        self._place(call, others or None)
        return True

    async def close(self) -> None:
        """Close the connections; calls in progress end with UpstreamUnavailable."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._source.close()
        self._fail_unplaced(UpstreamUnavailable("the connections are closed"))
        await asyncio.gather(*(pool.close() for pool in (*self._pools.values(), *self._leaving)))

    def _place(self, call: Call, among: Sequence[Pool] | None = None) -> None:
        pools = among if among is not None else list(self._pools.values())
        if pools:
            (pools[0] if len(pools) == 1 else _less_loaded(pools, call.prefer)).send(call)
        elif self._closed:
            call.finish(UpstreamUnavailable("the connections are closed"))
        elif self._known:
            call.finish(NoPod("the predictor has no pod that is ready"))
        elif not self._unplaced.push(call):
            call.finish(Overloaded("too many calls wait for the predictor"))

    def _changed(self, endpoints: tuple[Endpoint, ...] | None, reason: str) -> None:
        """The source has spoken: open pools to what is new, retire those to what is gone."""
        if endpoints is None:
            if not self._known:
                self._fail_unplaced(NoPod(f"the predictor cannot be reached: {reason}"))
            return
        self._known = True
        before = self._pools
        self._pools = {endpoint: before.get(endpoint) or self._make(endpoint, self) for endpoint in endpoints}
        self._leaving = {pool for pool in self._leaving if pool.busy}
        for endpoint, pool in before.items():
            if endpoint not in self._pools:
                self._leaving.add(pool)
                pool.retire()
        for call in self._unplaced.clear():
            if not call.finished:
                self._place(call)

    def _fail_unplaced(self, error: PenstockError) -> None:
        for call in self._unplaced.clear():
            call.finish(error)

    def _set_aside(self, pool: Pool) -> None:
        now = time.monotonic()
        if now >= pool.aside_until:
            pool.failures += 1
            pool.aside_until = now + min(LONGEST_ASIDE_S, FIRST_ASIDE_S * 2 ** min(pool.failures - 1, _DOUBLINGS))

    def _sweep(self) -> None:
        self._sweeper = None
        busy = False
        for pool in (*self._pools.values(), *self._leaving):
            if pool.busy:
                pool.sweep()
                busy = busy or pool.busy
        if busy and not self._closed:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)


def _less_loaded(pools: Sequence[Pool], prefer: str) -> Pool:
    """Of two pods drawn at random the one with fewer rows outstanding; pods set aside, or known to hold another bundle, last."""
    now = time.monotonic()
    able = [pool for pool in pools if pool.aside_until <= now] or pools
    if prefer:
        able = [pool for pool in able if pool.digest in (prefer, "")] or able
    if len(able) == 1:
        return able[0]
    first, second = random.sample(able, 2)
    return first if first.rows <= second.rows else second
