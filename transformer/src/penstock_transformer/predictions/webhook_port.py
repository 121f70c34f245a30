"""Webhooks that are due, as the database keeps them: written in the same transaction as the ending that they tell of.

    end(endings) --same transaction--> [id, url, body, due now] <--claim (leased)-- Deliverer --settle--> gone | due later

Invariant: while a lease lasts nobody else is given the webhook, and only the lease's holder can settle it.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
import orjson

from penstock_transformer.predictions.object_names import id_text
from penstock_transformer.predictions.resource import Prediction


class Webhook(msgspec.Struct, frozen=True, eq=False):
    """One to be delivered. `id` is the `webhook-id`: the same for every attempt. `body` was fixed with the ending. `attempts`
    counts the present one. `lease` is this claim's own token. `host` is the URL's lower-case host. `headers`, in lower case, are
    sent beside the usual ones, or in the place of one."""

    id: str
    prediction_id: str
    url: str
    host: str
    body: bytes
    attempts: int
    lease: str
    headers: dict[str, str] = {}


class Settled(msgspec.Struct, frozen=True, eq=False):
    """What came of an attempt: `again_s` is in how many s the next is due, None if there is none. `outcome` is
    `delivered`, `failed` (will be tried again), `gone` (410) or `abandoned` (the last attempt failed)."""

    id: str
    lease: str
    outcome: str
    again_s: float | None = None
    reason: str = ""


class WebhookQueue(Protocol):
    """The webhooks of one database. On the event loop's thread. Every call raises UpstreamUnavailable where it is away."""

    async def claim(self, limit: int, lease_s: float, per_host: int, under_way: Mapping[str, int]) -> list[Webhook]:
        """Up to so many that are due and leased by nobody, longest due first, leased from now on; of no host more than `per_host`
        with those that are under way to it."""

    async def settle(self, settled: Settled) -> bool:
        """Write what came of it: remove it, or make it due later. False if the lease is not ours any more: nothing changed."""

    async def wait(self, timeout_s: float, busy_hosts: Sequence[str]) -> None:
        """Return when a webhook has been written, or one that is for no busy host becomes due, or after `timeout_s`; by
        notification where there is one."""


def webhook_id(prediction_id: str) -> str:
    """The `webhook-id` of a prediction's ending: there is one ending, so there is one webhook."""
    return f"msg_{id_text(prediction_id)}"


def webhook_body(prediction: Prediction) -> bytes:
    """What a receiver is told of an ended prediction: that it ended, how, and where the rest is.

    It is thin on purpose. The result may be megabytes and somebody's data, and the address it would go to was named by a
    caller: whoever is told fetches it with credentials of its own, as any reader does. It also stays true: an ended prediction
    changes no more, so that a repeated or late webhook says what the first said.
    """
    from penstock_transformer.predictions.http.documents import document, moment

    told = {"type": f"prediction.{prediction.state.value}", "timestamp": moment(prediction.ended_s or time.time())}
    return orjson.dumps(told | {"data": document(prediction, whole=False)})


class MemoryWebhooks:
    """A `WebhookQueue` in memory: for a server whose predictions end with the process, and for tests."""

    def __init__(self) -> None:
        self._waiting: dict[str, Webhook] = {}
        self._due: dict[str, float] = {}
        self._leased: dict[str, float] = {}
        self._tokens = 0
        self._changed = asyncio.Event()

    def add(self, webhook: Webhook) -> None:
        """One that is due now."""
        self._waiting[webhook.id] = webhook
        self._due[webhook.id] = time.time()
        self._changed.set()

    @property
    def waiting(self) -> list[Webhook]:
        """Those that are not settled for good."""
        return list(self._waiting.values())

    async def claim(self, limit: int, lease_s: float, per_host: int, under_way: Mapping[str, int]) -> list[Webhook]:
        now = time.time()
        found: list[Webhook] = []
        hosts = dict(under_way)
        for one in sorted(self._waiting, key=self._due.__getitem__):
            webhook = self._waiting[one]
            free = self._due[one] <= now and self._leased.get(one, 0.0) <= now
            if len(found) == limit or not free or hosts.get(webhook.host, 0) >= per_host:
                continue
            hosts[webhook.host] = hosts.get(webhook.host, 0) + 1
            self._tokens += 1
            claimed = msgspec.structs.replace(webhook, attempts=webhook.attempts + 1, lease=str(self._tokens))
            self._waiting[one], self._leased[one] = claimed, now + lease_s
            found.append(claimed)
        return found

    async def settle(self, settled: Settled) -> bool:
        held = self._waiting.get(settled.id)
        if held is None or held.lease != settled.lease:
            return False
        del self._leased[settled.id]
        if settled.again_s is None:
            del self._waiting[settled.id], self._due[settled.id]
        else:
            self._due[settled.id] = time.time() + settled.again_s
        return True

    async def wait(self, timeout_s: float, busy_hosts: Sequence[str]) -> None:
        waiting = [one for one in self._waiting.values() if one.host not in busy_hosts]
        moments = [max(self._due[one.id], self._leased.get(one.id, 0.0)) for one in waiting]
        until_due_s = min(moments, default=float("inf")) - time.time()
        try:
            async with asyncio.timeout(max(0.0, min(timeout_s, until_due_s))):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()
