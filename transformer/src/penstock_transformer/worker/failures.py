"""What a call to the broker raised, as the machine is told it. An error that no port names leaves the commit in doubt."""

import logging

from penstock_transformer.broker.port import BrokerError, Fenced, InDoubt, Rebalanced, Retriable, TooLargeForTopic
from penstock_transformer.worker.events import Failure

logger = logging.getLogger(__name__)


def failure_of(error: Exception) -> Failure:
    """The port's errors by name; anything else is a fault of ours or the client's: logged, and nothing is taken for known."""
    if isinstance(error, InDoubt):
        return Failure.IN_DOUBT
    if isinstance(error, Retriable):
        return Failure.RETRIABLE
    if isinstance(error, Rebalanced):
        return Failure.REBALANCED
    if isinstance(error, Fenced):
        return Failure.FENCED
    if isinstance(error, TooLargeForTopic):
        return Failure.TOO_LARGE
    if isinstance(error, BrokerError):
        return Failure.REFUSED
    logger.error("a call to the broker failed for no reason that has a name", exc_info=error)
    return Failure.IN_DOUBT
