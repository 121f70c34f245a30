"""Updates into the store, as the worker's shell sees it: an update that is written is an answer with nothing to produce.

    records --UpdateReader--> rows --one write at a time, up to `batch_rows`--> Answered(NOTHING) | Away | Refused (dead letter)

While one batch is written the next gathers, so that batches grow with the load. A store that is away loses nothing: everything
that waits is told Away, and tried again by the machine, which reads no more meanwhile.

Invariant: `done` is called once for each record, and Answered only after the store has the row, or a newer one.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.errors import InvalidInput, PenstockError
from penstock.failpoints import failpoint
from penstock.serving.faults import fault
from penstock_transformer.broker.records import OutRecord, Record
from penstock_transformer.store.port import FeatureStore, RowWrite, UnreadableValue
from penstock_transformer.updates.update import UpdateReader
from penstock_transformer.worker.dead_letters import CRASHED, DeadLetters
from penstock_transformer.worker.headers import id_of
from penstock_transformer.worker.outcomes import Answered, Away, Outcome, Refused

logger = logging.getLogger(__name__)

# What an update produces on Kafka; `letters_only.LettersOnly` leaves it out of the transaction.
NOTHING = OutRecord("", None, None)

Done = Callable[[Record, Outcome], None]


class FeatureSet(NamedTuple):
    """One topic of updates: who reads them, and where its dead letters go."""

    reader: UpdateReader
    letters: DeadLetters


class _Waiting(NamedTuple):
    record: Record
    row: RowWrite
    done: Done


class StoreUpdating:
    """Implements `worker.outcomes.Predicting` over a store. `sets` by the topic of their updates."""

    def __init__(self, sets: Mapping[str, FeatureSet], store: FeatureStore, *, batch_rows: int = 500) -> None:
        self._sets = sets
        self._store = store
        self._batch_rows = batch_rows
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self.written = self.unchanged = self.refused = self.batches = 0
        self.behind_s = 0.0

    def submit(self, records: Sequence[Record], done: Done) -> None:
        """Write these. Never raises, never blocks."""
        for record in records:
            feature_set = self._sets[record.partition.topic]
            try:
                row = feature_set.reader.read(record)
            except PenstockError as error:
                self._refuse(record, error, done)
            except Exception as error:
                self._refuse(record, fault(logger, "update could not be read", error, id_of(record)), done)
            else:
                self._waiting.append(_Waiting(record, row, done))
        if self._waiting and self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_all())

    def crashed(self, record: Record, attempts: int) -> OutRecord:
        """Never asked for: no update ends a predictor."""
        return self._letters(record).letter(record, CRASHED, "the update could not be written", attempts=attempts)

    def too_large(self, record: Record, message: str) -> OutRecord:
        """Never asked for: an update that is written produces nothing."""
        return self._letters(record).letter(record, "too_large", message)

    async def healthy(self) -> bool:
        """Never asked for: no update is a suspect."""
        return True

    async def close(self) -> None:
        """Wait for the write under way."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)

    def families(self) -> Iterable[Metric]:
        """What /metrics shows of updates."""
        for name, text, value in (
            ("written", "Updates that changed the store.", self.written),
            ("unchanged", "Updates that were no newer than what the store held: late ones and repeated ones.", self.unchanged),
            ("refused", "Updates that became dead letters.", self.refused),
            ("batches", "Writes of the store.", self.batches),
        ):
            yield CounterMetricFamily(f"penstock_updates_{name}", text, value=value)
        behind = "How long the last update that was written had been in its topic."
        yield GaugeMetricFamily("penstock_updates_behind_seconds", behind, value=self.behind_s)

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._batch_rows], self._waiting[self._batch_rows :]
                await self._write(batch)
        finally:
            self._writing = None

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            written = await self._store.write([one.row for one in batch])
        except (InvalidInput, UnreadableValue) as error:
            await self._write_apart(batch, error)
        except PenstockError as error:
            self._away(batch, f"{error.kind}: {error.message}")
        except Exception as error:
            await self._write_apart(batch, fault(logger, "updates could not be written", error, ""))
        else:
            failpoint("updates.written")
            self._answer(batch, written)

    async def _write_apart(self, batch: list[_Waiting], error: PenstockError) -> None:
        """One of them is at fault, and the store does not say which: each by itself."""
        if len(batch) == 1:
            self._refuse(batch[0].record, error, batch[0].done)
            return
        for one in batch:
            await self._write([one])

    def _answer(self, batch: list[_Waiting], written: Sequence[bool]) -> None:
        self.batches += 1
        self.written += sum(written)
        self.unchanged += len(written) - sum(written)
        self.behind_s = max(0.0, time.time() - batch[-1].record.timestamp_ms / 1e3)
        for one in batch:
            one.done(one.record, Answered(NOTHING))

    def _away(self, batch: list[_Waiting], reason: str) -> None:
        # What waits behind it would wait for the same time-out, a batch after the other.
        batch, self._waiting = batch + self._waiting, []
        logger.warning("feature store away", extra={"count": len(batch), "reason": reason})
        for one in batch:
            one.done(one.record, Away(reason))

    def _refuse(self, record: Record, error: PenstockError, done: Done) -> None:
        self.refused += 1
        extra = {"request_id": id_of(record), "position": record.position, "kind": str(error.kind), "field": error.field}
        logger.info("update refused", extra=extra)
        done(record, Refused(self._letters(record).of(record, error, None), str(error.kind)))

    def _letters(self, record: Record) -> DeadLetters:
        return self._sets[record.partition.topic].letters
