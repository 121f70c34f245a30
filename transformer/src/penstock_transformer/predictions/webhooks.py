"""The deliverer of webhooks: claims what is due, sends a bounded number at once, settles each.

    queue.claim (leased) -> Sender.send -> next_step -> queue.settle          several deliverers: each webhook is one's at a time

At least once: whoever dies between sending and settling leaves a lease that runs out, and the next attempt has the same
`webhook-id`. Invariant: nothing is sent outside of its lease, so no two processes send one webhook at the same time.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.errors import Internal, UpstreamUnavailable
from penstock.failpoints import failpoint
from penstock_transformer.predictions.webhook_machine import Failure, Result, next_step
from penstock_transformer.predictions.webhook_port import Settled, Webhook, WebhookQueue
from penstock_transformer.predictions.webhook_settings import WebhookSettings

logger = logging.getLogger(__name__)

_IDLE_S = 60.0
_AWAY_S = 1.0


class Sending(Protocol):
    """Makes one attempt."""

    async def send(self, webhook: Webhook) -> Result: ...


class Deliverer:
    """Delivers the webhooks of one queue. `run` until `stop`; `families` are its metrics."""

    def __init__(self, queue: WebhookQueue, sender: Sending, settings: WebhookSettings) -> None:
        self._queue = queue
        self._sender = sender
        self._settings = settings
        self._lease_s = settings.webhook_timeout_s + settings.webhook_lease_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._hosts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Deliver until stopped; what is under way then is finished."""
        while not self._stopping.is_set():
            try:
                claimed = await self._claim()
                if not claimed:
                    await self._rest()
            except UpstreamUnavailable as error:
                logger.warning("webhooks: database away", extra={"reason": error.message})
                await self._first([self._stopping.wait(), asyncio.sleep(_AWAY_S)])
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def stop(self) -> None:
        """Claim no more."""
        self._stopping.set()

    def families(self) -> Iterable[Metric]:
        """What /metrics shows of webhooks."""
        attempts = CounterMetricFamily(
            "penstock_webhook_attempts", "Attempts to deliver a webhook, by outcome.", labels=("outcome",)
        )
        for outcome in ("delivered", "failed", "gone", "abandoned", "lost_lease"):
            attempts.add_metric((outcome,), self._outcomes[outcome])
        yield attempts
        yield GaugeMetricFamily("penstock_webhooks_in_flight", "Webhooks under way.", value=len(self._tasks))

    async def _claim(self) -> int:
        room = self._settings.webhook_in_flight - len(self._tasks)
        if room <= 0:
            return 0
        asked_at = _awake_s()
        claimed = await self._queue.claim(room, self._lease_s, self._settings.webhook_per_host, self._hosts)
        failpoint("webhook.claimed")
        for webhook in claimed:
            self._hosts[webhook.host] += 1
            task = asyncio.create_task(self._deliver(webhook, asked_at))
            self._tasks.add(task)
            task.add_done_callback(self._finished)
        return len(claimed)

    async def _rest(self) -> None:
        """Until something changes: one is done, one is written, one falls due, or all ends."""
        waits: list[Coroutine[Any, Any, object]] = [self._stopping.wait()]
        if len(self._tasks) < self._settings.webhook_in_flight:
            full = [host for host, count in self._hosts.items() if count >= self._settings.webhook_per_host]
            waits.append(self._queue.wait(_IDLE_S, full))
        await self._first(waits)

    async def _first(self, waits: Sequence[Coroutine[Any, Any, object]]) -> None:
        """Until one of these returns, or a delivery is done. Raises what one of these raised."""
        tasks = [asyncio.create_task(wait) for wait in waits]
        try:
            await asyncio.wait([*tasks, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("webhook's delivery failed", exc_info=task.exception())

    async def _deliver(self, webhook: Webhook, asked_at: float) -> None:
        try:
            held_s = _awake_s() - asked_at
            if held_s > self._lease_s - self._settings.webhook_timeout_s:
                # We stood still; the lease may have gone on to another, who sends it.
                self._outcomes["lost_lease"] += 1
                return
            result = await self._send(webhook)
            failpoint("webhook.sent")
            await self._settle(webhook, next_step(webhook, result, self._settings, random.random))
            failpoint("webhook.marked")
        finally:
            self._hosts[webhook.host] -= 1
            if not self._hosts[webhook.host]:
                del self._hosts[webhook.host]

    async def _send(self, webhook: Webhook) -> Result:
        try:
            return await self._sender.send(webhook)
        except Exception as error:
            # A fault of ours in one webhook must not end the others; it is tried again, and given up in the end.
            logger.error("webhook could not be sent", exc_info=error, extra={"request_id": webhook.prediction_id})
            return Failure(Internal().message)

    async def _settle(self, webhook: Webhook, settled: Settled) -> None:
        try:
            ours = await self._queue.settle(settled)
        except UpstreamUnavailable as error:
            # Its lease runs out, and it is sent again: at least once.
            logger.warning("webhook not marked", extra={"request_id": webhook.prediction_id, "reason": error.message})
            ours = False
        outcome = settled.outcome if ours else "lost_lease"
        self._outcomes[outcome] += 1
        level = logging.WARNING if outcome in ("abandoned", "lost_lease") else logging.INFO
        extra = {
            "request_id": webhook.prediction_id,
            "attempt": webhook.attempts,
            "outcome": outcome,
            "reason": settled.reason or None,
        }
        logger.log(level, "webhook", extra=extra)


def _awake_s() -> float:
    """Seconds of a clock that also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
