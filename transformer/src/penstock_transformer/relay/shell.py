"""The relay's shell: does what the machine asks, tells it what came of that. Decides nothing.

    NOTIFY, timer, SIGTERM --> inbox --> machine --> effects --+--> database, on the event loop
                                 ^                             +--> Kafka, on one thread
                                 +------------ answers --------+

Invariant: every effect is answered by exactly one event, whatever goes wrong with it; what nobody expected is logged and answered
with Broken, after which the machine asks database and broker anew.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from penstock.errors import UpstreamUnavailable
from penstock.failpoints import failpoint
from penstock_transformer.broker.port import BrokerError, Fenced, Retriable, TooLargeForTopic
from penstock_transformer.relay import effects as fx
from penstock_transformer.relay import events as ev
from penstock_transformer.relay.link import KafkaLink
from penstock_transformer.relay.machine import RelayMachine
from penstock_transformer.relay.port import Intents, Superseded

logger = logging.getLogger(__name__)


class RelayShell:
    """Runs one machine. `owner` is `<instance>:<process>`; `lease_s` how long a slot is held without being renewed."""

    def __init__(
        self,
        machine: RelayMachine,
        intents: Intents,
        link: KafkaLink,
        *,
        owner: str,
        lease_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine = machine
        self._intents = intents
        self._link = link
        self._owner = owner
        self._lease_s = lease_s
        self._clock = clock
        self._inbox: asyncio.Queue[ev.Event] = asyncio.Queue()
        self._woken = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = ThreadPoolExecutor(1, "relay-kafka")
        self.failing: str | None = None

    def wake(self) -> None:
        """Something was submitted. On the event loop's thread; many calls are one event."""
        if not self._woken:
            self._woken = True
            self._inbox.put_nowait(ev.Woken())

    def stop(self) -> None:
        """Finish what is under way, then `run` returns."""
        self._inbox.put_nowait(ev.Stop())

    async def run(self) -> None:
        """Relay until stopped. The link is closed then."""
        try:
            self._begin(self._machine.start(self._clock()))
            while not self._machine.finished:
                self._begin(self._machine.handle(await self._next_event(), self._clock()))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.get_running_loop().run_in_executor(self._thread, self._link.close)
            self._thread.shutdown(wait=False)

    async def _next_event(self) -> ev.Event:
        deadline = self._machine.deadline
        wait_s = None if deadline is None else max(0.0, deadline - self._clock())
        try:
            async with asyncio.timeout(wait_s):
                event = await self._inbox.get()
        except TimeoutError:
            return ev.Tick()
        if isinstance(event, ev.Woken):
            self._woken = False
        return event

    def _begin(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            if not isinstance(effect, fx.Finish):
                task = asyncio.create_task(self._answer(effect))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _answer(self, effect: fx.Effect) -> None:
        event = await self._perform(effect)
        reason = getattr(event, "reason", None)
        if reason is not None:
            logger.warning("relay was held up", extra={"effect": type(effect).__name__, "reason": reason})
        if not isinstance(effect, fx.Renew):
            self.failing = reason
        self._inbox.put_nowait(event)

    async def _perform(self, effect: fx.Effect) -> ev.Event:
        try:
            return await self._reach(effect)
        except Superseded as error:
            logger.warning("relay lost its slot", extra={"reason": error.message})
            return ev.RenewFailed() if isinstance(effect, fx.Renew) else ev.Lost()
        except BrokerError as error:
            return _broker_fault(effect, error)
        except UpstreamUnavailable as error:
            return ev.RenewFailed() if isinstance(effect, fx.Renew) else ev.Failed(error.message)
        except Exception as error:
            logger.error("relay failed", exc_info=error, extra={"effect": type(effect).__name__})
            return ev.RenewFailed() if isinstance(effect, fx.Renew) else ev.Broken(type(error).__name__)

    async def _reach(self, effect: fx.Effect) -> ev.Event:
        intents = self._intents
        match effect:
            case fx.LeaseSlot(take_back):
                lease = await intents.lease(self._owner, self._lease_s, take_back=take_back)
                failpoint("relay.leased")
                logger.info("relay has a slot", extra={"slot": lease.slot.name, "pending": lease.pending})
                return ev.Leased(lease)
            case fx.LoadBatch(slot, number):
                return ev.Loaded(await intents.load(slot, number))
            case fx.ClaimBatch(slot, after, number, what):
                claimed = await intents.claim(slot, after, number, what)
                if claimed:
                    failpoint("relay.claimed")
                return ev.Claimed(claimed)
            case fx.MarkBatch(slot, number):
                gone = await intents.mark(slot, number)
                failpoint("relay.marked")
                return ev.Marked(gone)
            case fx.UnclaimBatch(slot, number):
                await intents.unclaim(slot, number)
                return ev.Unclaimed()
            case fx.Refuse(slot, number, intent_id, message):
                logger.warning("request is too large for its topic", extra={"request_id": intent_id, "reason": message})
                await intents.refuse(slot, number, intent_id, message)
                return ev.Refused()
            case fx.Renew(slot):
                return ev.Renewed(await intents.renew(slot, self._lease_s))
            case fx.Release(slot):
                await self._on_thread(self._link.close_outlet)
                await intents.release(slot)
                return ev.Released()
        return await self._reach_kafka(effect)

    async def _reach_kafka(self, effect: fx.Effect) -> ev.Event:
        link = self._link
        match effect:
            case fx.Open(slot):
                await self._on_thread(link.open, slot.name)
                failpoint("relay.opened")
                return ev.Opened()
            case fx.Restore():
                await self._on_thread(link.restore)
                return ev.Opened()
            case fx.ReadMarker(slot):
                return ev.MarkerRead(await self._on_thread(link.marker, slot.name))
            case fx.Send(slot, number, intents):
                await self._on_thread(link.send, slot.name, number, intents)
                failpoint("relay.sent")
                return ev.Sent()
        raise AssertionError(effect)

    async def _on_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def _broker_fault(effect: fx.Effect, error: BrokerError) -> ev.Event:
    """What the port's error means to the machine; who only reads or opens simply tries again."""
    if isinstance(error, Fenced):
        return ev.SendFailed(ev.Fault.FENCED, error.message)
    if not isinstance(effect, fx.Send):
        return ev.Failed(error.message)
    if isinstance(error, TooLargeForTopic):
        return ev.SendFailed(ev.Fault.TOO_LARGE, error.message, error.at)
    if isinstance(error, Retriable):
        return ev.SendFailed(ev.Fault.UNKNOWN, error.message)
    return ev.SendFailed(ev.Fault.REFUSED, error.message)
