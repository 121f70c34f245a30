"""Opens what a worker stands on: the model's topics, checked; intake and outlet by the settings; the object store, if there is
one.

settings -> topics -> intake, outlet -> WorkerShell over a TransformerPredicting

What waiting mends is waited for; what it does not (a topic that is missing, no right to it) is said and ends the start.
"""

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, TypeVar

from penstock.protocol.limits import Limits
from penstock_transformer.broker.opening import open_admin, open_at_least_once, open_intake, open_outlet, transactional_id
from penstock_transformer.broker.port import BrokerError, Intake, Outlet, Retriable
from penstock_transformer.broker.topics import Fault, dead_letters_topic, model_topics, predictions_topic, prepare, requests_topic
from penstock_transformer.transformer import Transformer
from penstock_transformer.worker.backoff import Backoff
from penstock_transformer.worker.large_answers import ClosedPredicting, LargeAnswers
from penstock_transformer.worker.predicting import TransformerPredicting
from penstock_transformer.worker.settings import WorkerSettings
from penstock_transformer.worker.shell import WorkerShell

if TYPE_CHECKING:
    from penstock_transformer.predictions.objects import Objects

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def open_worker(settings: WorkerSettings, transformer: Transformer) -> tuple[WorkerShell, ClosedPredicting]:
    """A worker that has not begun. Raises BrokerError for topics that cannot be used."""
    for fault in await _reached(lambda: _prepare(settings)):
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
    intake, outlet = await _reached(lambda: _open(settings))
    answering: ClosedPredicting = predicting if objects is None else LargeAnswers(predicting, objects, settings.inline_bytes)
    shell = WorkerShell(
        intake, outlet, answering, [requests_topic(model)], policy=settings.policy, poll_records=settings.poll_records
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


def _open(settings: WorkerSettings) -> tuple[Intake, Outlet]:
    group = settings.group
    if settings.delivery == "at-least-once":
        outlet = open_at_least_once(settings)
    else:
        outlet = open_outlet(settings, transactional_id(settings, group))
    return open_intake(settings, group), outlet


async def _objects(settings: WorkerSettings) -> "Objects | None":
    if settings.objects is None:
        return None
    from penstock_transformer.predictions.objects import open_objects

    objects = open_objects(settings.objects, most_bytes=settings.object_bytes, timeout_s=settings.objects_timeout_s)
    await objects.start()
    return objects


async def _reached(call: Callable[[], T]) -> T:
    """What a blocking call gives, made again for as long as the broker is away."""
    backoff, random, tries = Backoff(), Random(), 0
    while True:
        try:
            return await asyncio.to_thread(call)
        except Retriable as error:
            tries += 1
            if tries == 1:
                logger.warning("the broker is not reached yet", extra={"reason": str(error)})
            await asyncio.sleep(backoff.delay_s(tries, random))
