"""kafka-python's errors as the port's four: the one table, used at this client's edge and nowhere else.

it raises                                                  we raise
ProducerFenced, InvalidProducerEpoch, FencedInstanceId     Fenced       a newer producer or member has our name (or our own
                                                                        transaction was open for longer than its time-out)
CommitFailed, IllegalGeneration, UnknownMember, Rebalance  Rebalanced   the group has moved on since we asked for `group()`
MessageSizeTooLarge, RecordListTooLarge                    TooLargeForTopic
what it calls retriable, time-outs, lost producer state    Retriable    nothing is committed
no answer to a commit within the time-out                  InDoubt      (in `outlet`, the only one who can tell)
anything else                                              BrokerError  no right, wrong password, unknown topic, bad settings
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors

from penstock_transformer.broker.port import BrokerError, Fenced, Rebalanced, Retriable, TooLargeForTopic

_FENCED = (
    errors.ProducerFencedError,
    errors.InvalidProducerEpochError,
    errors.TransactionCoordinatorFencedError,
    errors.FencedInstanceIdError,
)
_REBALANCED = (
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
# Not retriable by kafka-python's own book: a new producer, or the next attempt of this one, mends them all the same.
_MENDED_BY_ANOTHER_TRY = (
    errors.RetriableError,
    errors.BrokerNotAvailableError,
    errors.OutOfOrderSequenceNumberError,
    errors.UnknownProducerIdError,
    errors.InvalidProducerIdMappingError,
    errors.TransactionAbortedError,
    OSError,
)


def translate(error: BaseException, doing: str, *, at: int | None = None) -> BrokerError:
    """The port's error for one of kafka-python's. `doing` says what was tried; `at` is where a record was too large."""
    if isinstance(error, BrokerError):
        return error
    text = f"{doing}: {type(error).__name__}: {_said(error)}"[:500]
    if isinstance(error, _FENCED):
        return Fenced(text)
    if isinstance(error, _REBALANCED):
        return Rebalanced(text)
    if isinstance(error, _TOO_LARGE):
        return TooLargeForTopic(text, at=at)
    if type(error) is errors.KafkaError and (named := _named(text)) is not None:
        return translate(named, text, at=at)
    if isinstance(error, _MENDED_BY_ANOTHER_TRY):
        return Retriable(text)
    return BrokerError(text)


_MESSAGE = re.compile(r"error_message=(?:'((?:[^'\\]|\\.)+)'|\"((?:[^\"\\]|\\.)+)\")")


def _said(error: BaseException) -> str:
    """The broker's own words, where kafka-python has them at the end of request and answer as Python writes them."""
    text = str(error)
    found = _MESSAGE.search(text)
    return text if found is None else found[1] or found[2]


def _named(text: str) -> errors.KafkaError | None:
    """kafka-python wraps some errors into one without a class of its own: what was wrong is named in its text alone."""
    for word in re.findall(r"\w+Error\b", text):
        kind = getattr(errors, word, None)
        if isinstance(kind, type) and issubclass(kind, errors.KafkaError) and kind is not errors.KafkaError:
            return kind()
    return None


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Whatever kafka-python raises inside, raised as the port's error."""
    try:
        yield
    except (errors.KafkaError, OSError) as error:
        raise translate(error, doing) from error
