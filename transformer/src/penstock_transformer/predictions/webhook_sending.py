"""One attempt: the name looked up once, a fresh connection to that address, the signed body sent, the answer read to its end.

    Webhook --Policy--> Target, addresses --httpx, by number, TLS by name--> Answer | Failure

Nothing is reused between two attempts: a connection kept for one name could carry a request for another at the same address.
An answer that breaks off is no answer, for the receiver may have died before it kept what it was told.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from typing import Any

from penstock import __version__
from penstock.errors import PenstockError
from penstock_transformer.predictions.addresses import Address
from penstock_transformer.predictions.signing import read_secrets, signed_headers
from penstock_transformer.predictions.webhook_machine import Answer, Failure, Result
from penstock_transformer.predictions.webhook_port import Webhook
from penstock_transformer.predictions.webhook_settings import WebhookSettings
from penstock_transformer.predictions.webhook_target import Policy, Target

logger = logging.getLogger(__name__)

_CONNECT_S = 5.0
_MOST_ANSWER_BYTES = 65_536
# Of a name with many addresses, as many are tried as time allows for.
_MOST_ADDRESSES = 3


class Sender:
    """Sends webhooks. `policy` says where to; the settings' secrets sign."""

    def __init__(self, settings: WebhookSettings, policy: Policy) -> None:
        import httpx

        self._httpx = httpx
        self._settings = settings
        self._policy = policy
        self._secrets = read_secrets(settings.webhook_secret)
        self._tls = ssl.create_default_context(cafile=None if settings.webhook_ca is None else str(settings.webhook_ca))

    async def send(self, webhook: Webhook) -> Result:
        """Make one attempt. Never raises but for cancellation; takes `webhook_timeout_s` at most."""
        try:
            async with asyncio.timeout(self._settings.webhook_timeout_s):
                target = self._policy.read(webhook.url)
                return await self._try(webhook, target, await self._policy.addresses(target))
        except TimeoutError:
            return Failure(f"no whole answer within {self._settings.webhook_timeout_s:g} s")
        except PenstockError as error:
            return Failure(error.message)
        except self._httpx.HTTPError as error:
            return Failure(type(error).__name__)

    async def _try(self, webhook: Webhook, target: Target, addresses: Sequence[Address]) -> Result:
        *others, last = addresses[:_MOST_ADDRESSES]
        for address in others:
            try:
                return await self._post(webhook, target, address)
            except (self._httpx.ConnectError, self._httpx.ConnectTimeout):
                continue
        return await self._post(webhook, target, last)

    async def _post(self, webhook: Webhook, target: Target, address: Address) -> Result:
        number = f"[{address}]" if address.version == 6 else str(address)
        headers = {
            "host": target.authority,
            "content-type": "application/json",
            **webhook.headers,
            "user-agent": f"penstock/{__version__}",
            "accept-encoding": "identity",
            "connection": "close",
            **signed_headers(self._secrets, webhook.id, int(time.time()), webhook.body),
        }
        transport = self._httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, retries=0)
        request = self._httpx.Request(
            "POST",
            f"{target.scheme}://{number}:{target.port}{target.path}",
            headers=headers,
            content=webhook.body,
            extensions={"sni_hostname": target.host, "timeout": {"connect": _CONNECT_S, "pool": _CONNECT_S}},
        )
        async with transport:
            answer = await transport.handle_async_request(request)
            return await self._read(answer)

    async def _read(self, answer: Any) -> Result:
        read = 0
        async for chunk in answer.stream:
            read += len(chunk)
            if read > _MOST_ANSWER_BYTES:
                # Who says that much has answered: what it says is not looked at.
                break
        return Answer(answer.status_code, _retry_after_s(answer.headers.get("retry-after", "")))


def _retry_after_s(text: str) -> float | None:
    """Seconds that an answer asks for; a date there is not looked at."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 9 else None
