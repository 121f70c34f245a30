"""Fills a log's folder from Kafka, on a thread of its own.

    Intake --records--> held --when full, or old, or a partition goes--> Parquet files --> offsets

Invariant: an offset is committed after the file that has its record is on the disk. What is written and not committed, because
the process died, is written once more by the next, and read once: readers know a row by its id, its number and its clock.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from penstock.errors import PenstockError
from penstock.failpoints import failpoint
from penstock_transformer.broker.port import BrokerError, Fenced, Intake
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.feedback.document import read_request
from penstock_transformer.feedback.outcome import Outcome, outcome_of
from penstock_transformer.feedback.row import LogRow, rows_of
from penstock_transformer.feedback.writer import FolderWriter

logger = logging.getLogger(__name__)

_POLL_S = 0.5
_AGAIN_S = 2.0


class Held:
    """What is read and not written: rows and outcomes by model, and the offsets behind them."""

    def __init__(self) -> None:
        self.rows: dict[str, list[LogRow]] = {}
        self.outcomes: dict[str, list[Outcome]] = {}
        self.offsets: dict[Partition, int] = {}
        self.count = 0
        self.nbytes = 0

    def take(self, record: Record, received_s: float) -> str:
        """One more record; what it was: `logged`, `outcome`, or `unreadable`, which is left behind."""
        self.offsets[Partition(*record.partition)] = record.offset + 1
        model, _, kind = record.partition.topic.rpartition(".")
        try:
            if kind == "log":
                found = list(rows_of(read_request(record.value or b"")))
                self.rows.setdefault(model, []).extend(found)
                self.count += len(found)
            else:
                self.outcomes.setdefault(model, []).append(outcome_of(record, received=received_s))
                self.count += 1
        except PenstockError as error:
            logger.warning("a record cannot be read", extra={"position": record.position, "reason": str(error)})
            return "unreadable"
        self.nbytes += record.nbytes
        return "logged" if kind == "log" else "outcome"


class Filling:
    """One thread over an intake that nobody else uses. `failure` is the error that ended it, if one did."""

    def __init__(
        self,
        intake: Intake,
        writer: FolderWriter,
        topics: Sequence[str],
        *,
        part_s: float,
        part_rows: int,
        part_bytes: int,
        poll_records: int,
        ended: Callable[[], None],
    ) -> None:
        self._intake = intake
        self._writer = writer
        self._topics = topics
        self._part_s, self._part_rows, self._part_bytes = part_s, part_rows, part_bytes
        self._poll_records = poll_records
        self._ended = ended
        self._held = Held()
        self._since = time.monotonic()
        self._stopping = threading.Event()
        self.held_up = False
        self.partitions: set[Partition] = set()
        self.failure: Exception | None = None
        self.counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="log-sink", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, within_s: float) -> bool:
        """Write and commit what was read; whether it ended in time."""
        self._stopping.set()
        self._intake.wake()
        self._thread.join(within_s)
        return not self._thread.is_alive()

    # --- as Assignment

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Nothing is to be done: reading begins where the group is."""
        self.partitions.update(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """What was read of these is written before they go."""
        self._flush(tries=1)
        self._forget(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Another reads them again from what is committed; what we hold of them does no harm."""
        self._forget(partitions)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._held.offsets.pop(Partition(*partition), None)
            self.partitions.discard(partition)

    # --- the thread

    def _run(self) -> None:
        try:
            self._intake.subscribe(self._topics, self)
            while not self._stopping.is_set():
                self._read()
            self._flush(tries=2)
        except Exception as error:
            logger.error("reading the log ended", exc_info=error)
            self.failure = error
        finally:
            try:
                self._intake.close()
            except BrokerError as error:
                logger.warning("the group was not left", extra={"reason": error.message})
            self._ended()

    def _read(self) -> None:
        try:
            records = self._intake.poll(_POLL_S, self._poll_records)
        except BrokerError as error:
            if not error.retryable:
                raise
            logger.warning("Kafka cannot be read at present", extra={"reason": error.message})
            self._stopping.wait(_AGAIN_S)
            return
        now_s = time.time()
        if records and not self._held.offsets:
            self._since = time.monotonic()
        for record in records:
            self.counts[self._held.take(record, now_s)] += 1
        held = self._held
        old = time.monotonic() - self._since >= self._part_s
        if held.offsets and (old or held.count >= self._part_rows or held.nbytes >= self._part_bytes):
            self._flush()

    def _flush(self, tries: int = 0) -> None:
        """Write what is held, then commit; `tries` 0: as often as it takes, for as long as nobody stops us."""
        tried = 0
        while self._held.offsets:
            try:
                self._write()
                failpoint("log_sink.written")
                self._commit()
                self.held_up = False
                return
            except (PenstockError, OSError) as error:
                self.held_up = True
                self.counts["faults"] += 1
                logger.warning("the log cannot be written at present", extra={"reason": str(error)})
                tried += 1
                if tries and tried >= tries:
                    return
                if self._stopping.wait(_AGAIN_S) and not tries:
                    tries, tried = 1, 0

    def _write(self) -> None:
        held = self._held
        for model in dict.fromkeys((*held.rows, *held.outcomes)):
            self._writer.add(model, held.rows.get(model, ()), held.outcomes.get(model, ()))
            # Not before: what failed is tried again.
            held.rows.pop(model, None)
            held.outcomes.pop(model, None)
        held.count = held.nbytes = 0

    def _commit(self) -> None:
        offsets = self._held.offsets
        try:
            self._intake.group().commit(offsets)
        except Fenced:
            # Another has these partitions and reads them again: what we have written is known to readers by its ids.
            logger.warning("the group has moved on", extra={"partitions": len(offsets)})
        self._held = Held()
        self.counts["parts"] += 1
