"""The prediction log and outcomes on Kafka: topics `<model>.log` and `<model>.outcomes`, through the broker's port.

    LogSink.write --> <model>.log, keyed by the request's id        report --> <model>.outcomes, keyed by the prediction's id

Both are keyed alike: with equal numbers of partitions an outcome stands in the partition with the number of its request's.
"""

import threading
import time
from collections.abc import Callable, Sequence

from penstock_transformer.broker.port import BrokerError, Producer
from penstock_transformer.broker.records import Headers, OutRecord
from penstock_transformer.feedback.log import Entry
from penstock_transformer.feedback.outcome import REPORTED, Outcome, write_outcome
from penstock_transformer.feedback.reporting import Told
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.headers import moment_of

LOGGED = b"dev.penstock.prediction.logged.v1"
_JSON = b"application/json"


def log_topic(model: str) -> str:
    """What a model was asked and has answered, a sample of it."""
    return f"{model}.log"


def outcomes_topic(model: str) -> str:
    """What turned out to be true."""
    return f"{model}.outcomes"


class KafkaFeedback:
    """One producer for both, opened when it is first needed; any thread may call. Raises Retriable, BrokerError."""

    def __init__(self, open_producer: Callable[[], Producer]) -> None:
        self._open = open_producer
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def write(self, entries: Sequence[Entry]) -> None:
        """As `LogSink.write`."""
        self._send([_logged(entry) for entry in entries])

    def report(self, told: Sequence[Told]) -> None:
        """Return once the outcomes are on Kafka."""
        self._send([_reported(one.model, one.outcome) for one in told])

    def tick(self) -> None:
        """Nothing is due."""

    def close(self) -> None:
        """Close the producer."""
        with self._lock:
            self._drop()

    def _send(self, records: Sequence[OutRecord]) -> None:
        with self._lock:
            if self._producer is None:
                self._producer = self._open()
            try:
                self._producer.send(records)
            except BrokerError:
                # The next call begins with a producer that holds nothing of this one's.
                self._drop()
                raise

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()


def _logged(entry: Entry) -> OutRecord:
    headers = (*_headers(entry.model, entry.id, LOGGED, time.time()), (names.BUNDLE, entry.bundle.encode()))
    return OutRecord(log_topic(entry.model), entry.id.encode(), entry.document, headers)


def _reported(model: str, outcome: Outcome) -> OutRecord:
    headers = _headers(model, outcome.id, REPORTED, outcome.time)
    return OutRecord(outcomes_topic(model), outcome.id.encode(), write_outcome(outcome), headers)


def _headers(model: str, identity: str, kind: bytes, moment_s: float) -> Headers:
    return (
        (names.ID, identity.encode()),
        (names.SPECVERSION, b"1.0"),
        (names.SOURCE, f"/models/{model}".encode()),
        (names.TYPE, kind),
        (names.TIME, moment_of(moment_s)),
        (names.CONTENT_TYPE, _JSON),
    )
