"""What follows an attempt to deliver a webhook: pure, so that every answer and every history can be tried.

    Answer(status) | Failure(reason), attempts --next_step--> Settled: delivered, gone, abandoned, or due again in so many seconds

2xx has delivered it, 410 is the receiver's word that it wants no more (Standard Webhooks 1.0), everything else is tried again:
redirects too, which are never followed, since where they lead nobody has checked.
"""

from collections.abc import Callable
from typing import NamedTuple

from penstock_transformer.predictions.webhook_port import Settled, Webhook
from penstock_transformer.predictions.webhook_settings import WebhookSettings

_GONE = 410
_FACTOR = 4.0
_JITTER = 0.2


class Answer(NamedTuple):
    """A whole answer. `retry_after_s` is what it asks for, None if nothing."""

    status: int
    retry_after_s: float | None = None


class Failure(NamedTuple):
    """No whole answer: refused, broken, too slow, not allowed."""

    reason: str


Result = Answer | Failure


def next_step(webhook: Webhook, result: Result, settings: WebhookSettings, random: Callable[[], float]) -> Settled:
    """What to write of an attempt. `random` gives numbers from 0 to 1: receivers that were away are not all tried at once."""
    if isinstance(result, Answer) and 200 <= result.status < 300:
        return Settled(webhook.id, webhook.lease, "delivered")
    reason = result.reason if isinstance(result, Failure) else f"status {result.status}"
    if isinstance(result, Answer) and result.status == _GONE:
        return Settled(webhook.id, webhook.lease, "gone", reason=reason)
    if webhook.attempts >= settings.webhook_attempts:
        return Settled(webhook.id, webhook.lease, "abandoned", reason=reason)
    wait_s = backoff_s(webhook.attempts, settings)
    if isinstance(result, Answer) and result.retry_after_s is not None:
        wait_s = max(wait_s, min(result.retry_after_s, settings.webhook_most_retry_s))
    return Settled(webhook.id, webhook.lease, "failed", wait_s * (1.0 + _JITTER * random()), reason)


def backoff_s(attempts: int, settings: WebhookSettings) -> float:
    """The wait after so many attempts, without jitter."""
    # Beyond this many doublings every wait is the longest, and powers would overflow.
    exponent = min(max(attempts - 1, 0), 30)
    return min(settings.webhook_first_retry_s * _FACTOR**exponent, settings.webhook_most_retry_s)
