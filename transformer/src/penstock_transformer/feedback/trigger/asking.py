"""Asking for a retraining: one attempt, by a signed webhook or by making a Job.

    Retraining --Asker.ask--> Settled (delivered, failed and again later, gone, abandoned)       Asker.progress, Asker.busy

What follows an attempt is decided as for every webhook: `webhook_machine.next_step`.
"""

import random
from typing import Protocol
from urllib.parse import urlsplit

from penstock_transformer.feedback.trigger.bounds import JobTemplate, Watch, Webhook
from penstock_transformer.feedback.trigger.event import asked
from penstock_transformer.feedback.trigger.job import job_of
from penstock_transformer.feedback.trigger.kube_jobs import KubeJobs
from penstock_transformer.feedback.trigger.machine import Progress, Retraining
from penstock_transformer.predictions.webhook_machine import next_step
from penstock_transformer.predictions.webhook_port import Settled
from penstock_transformer.predictions.webhook_port import Webhook as Sent
from penstock_transformer.predictions.webhook_sending import Sender
from penstock_transformer.predictions.webhook_settings import WebhookSettings
from penstock_transformer.predictions.webhook_target import Policy


class Asker(Protocol):
    """Asks for one model's retrainings."""

    async def ask(self, one: Retraining) -> Settled:
        """Make the next attempt. Never raises but for cancellation."""

    async def progress(self, one: Retraining) -> Progress | None:
        """What is known of one that was taken; None: nothing."""

    async def busy(self) -> bool:
        """Whether one is under way that this trigger may not know of. Raises UpstreamUnavailable where that cannot be known."""

    def close(self) -> None:
        """Release what it holds."""


class WebhookAsker:
    """Sends the event. Whether the retraining has ended is seen in the log: another bundle answers."""

    def __init__(self, watch: Watch, action: Webhook, settings: WebhookSettings) -> None:
        self._watch = watch
        self._action = action
        self._settings = settings
        self._policy = Policy(settings)
        self._policy.read(action.url)
        self._sender = Sender(settings, self._policy)

    async def ask(self, one: Retraining) -> Settled:
        headers, body = asked(self._watch, one, self._action.mode)
        url = self._action.url
        sent = Sent(one.id, one.id, url, (urlsplit(url).hostname or "").lower(), body, one.attempts + 1, "", headers)
        return next_step(sent, await self._sender.send(sent), self._settings, random.random)

    async def progress(self, one: Retraining) -> Progress | None:  # noqa: ARG002
        return None

    async def busy(self) -> bool:
        return False

    def close(self) -> None:
        self._policy.close()


class JobAsker:
    """Makes Jobs of a template, and looks how they end."""

    def __init__(self, watch: Watch, action: JobTemplate, settings: WebhookSettings, jobs: KubeJobs) -> None:
        self._watch = watch
        self._action = action
        self._settings = settings
        self._jobs = jobs

    async def ask(self, one: Retraining) -> Settled:
        result = await self._jobs.make(job_of(self._watch, self._action, one, self._jobs.namespace))
        made = Sent(one.id, one.id, "", "", b"", one.attempts + 1, "")
        return next_step(made, result, self._settings, random.random)

    async def progress(self, one: Retraining) -> Progress | None:
        return await self._jobs.progress(one.id)

    async def busy(self) -> bool:
        return await self._jobs.busy(self._watch.model)

    def close(self) -> None:
        return


def open_asker(watch: Watch, settings: WebhookSettings) -> Asker | None:
    """What the watch file asks for; None for one without an action. Raises InvalidInput, UpstreamUnavailable."""
    match watch.action:
        case Webhook():
            return WebhookAsker(watch, watch.action, settings)
        case JobTemplate():
            return JobAsker(watch, watch.action, settings, KubeJobs(watch.action.namespace))
        case None:
            return None
