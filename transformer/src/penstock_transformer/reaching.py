"""What a program stands on is waited for at its start: a broker, a database or a store that is away now may be there soon.

    call --UpstreamUnavailable--> wait, longer each time --> call again ... --> what it gives        anything else is raised

Invariant: only what waiting mends is waited for: an error that says it is not `retryable` ends the start and says why.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from penstock.errors import UpstreamUnavailable
from penstock_transformer.backoff import Backoff

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def reached(what: str, call: Callable[[], Awaitable[T]], *, backoff: Backoff | None = None) -> T:
    """What `call` gives, made again for as long as `what` is away; the first time, that is logged.

    Ends only with the call's success, its error (UpstreamUnavailable that is not retryable, or any other), or by being cancelled.
    """
    backoff, random, tries = backoff or Backoff(), Random(), 0
    while True:
        try:
            return await call()
        except UpstreamUnavailable as error:
            if not error.retryable:
                raise
            tries += 1
            if tries == 1:
                logger.warning("not reached yet", extra={"part": what, "reason": error.message})
        await asyncio.sleep(backoff.delay_s(tries, random))
