"""Opens what a worker stands on: the model's topics, checked; intake and outlet by the settings; the object store, if there is
one.

settings -> topics -> intake, outlet -> WorkerShell over a TransformerPredicting

What waiting mends is waited for; what it does not (a topic that is missing, no right to it) is said and ends the start.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from penstock.protocol.limits import Limits
from penstock_transformer.broker.opening import open_admin, open_both
from penstock_transformer.broker.port import BrokerError
from penstock_transformer.broker.topics import Fault, dead_letters_topic, model_topics, predictions_topic, prepare, requests_topic
from penstock_transformer.reaching import reached
from penstock_transformer.transformer import Transformer
from penstock_transformer.worker.large_answers import ClosedPredicting, LargeAnswers
from penstock_transformer.worker.predicting import TransformerPredicting
from penstock_transformer.worker.settings import WorkerSettings
from penstock_transformer.worker.shell import WorkerShell

if TYPE_CHECKING:
    from penstock_transformer.predictions.objects import Objects

logger = logging.getLogger(__name__)


async def open_worker(settings: WorkerSettings, transformer: Transformer) -> tuple[WorkerShell, ClosedPredicting]:
    """A worker that has not begun. Raises BrokerError for topics that cannot be used."""
    for fault in await reached("broker", lambda: asyncio.to_thread(_prepare, settings)):
        logger.warning("topic", extra={"reason": str(fault)})
    model = settings.model_name
    objects = await _objects(settings)
    predicting = TransformerPredicting(
        transformer,
        model,
        predictions=predictions_topic(model),
        dead_letters=dead_letters_topic(model),
        fetch=None if objects is None else objects.get,
        limits=Limits(body_bytes=settings.body_bytes),
    )
    intake, outlet = await reached("broker", lambda: asyncio.to_thread(open_both, settings, settings.group, settings.delivery))
    answering: ClosedPredicting = predicting if objects is None else LargeAnswers(predicting, objects, settings.inline_bytes)
    shell = WorkerShell(
        intake,
        outlet,
        answering,
        [requests_topic(model)],
        policy=settings.policy,
        poll_records=settings.poll_records,
        gather_s=settings.gather_ms / 1e3,
        # A commit makes six calls at most that each may take as long.
        patience_s=10 * settings.kafka_timeout_s,
    )
    return shell, answering


def _prepare(settings: WorkerSettings) -> list[Fault]:
    admin = open_admin(settings)
    try:
        faults = prepare(admin, settings, model_topics(settings, settings.model_name))
    finally:
        admin.close()
    grave = [str(fault) for fault in faults if fault.grave]
    if grave:
        raise BrokerError("; ".join(grave))
    return faults


async def _objects(settings: WorkerSettings) -> "Objects | None":
    if settings.objects is None:
        return None
    from penstock_transformer.predictions.objects import open_objects

    objects = open_objects(settings.objects, most_bytes=settings.object_bytes, timeout_s=settings.objects_timeout_s)
    await objects.start()
    return objects
