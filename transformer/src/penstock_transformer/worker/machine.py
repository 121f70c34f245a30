"""The worker without its input and output: events in, effects out, no clock, no thread, no wire.

    Polled -> Predict -> Outcomes -> each partition's finished prefix -> Commit -> CommitDone -> gone

One consumer, one producer. Every record that is read gets exactly one output, a prediction or a dead letter, committed together
with its offset. A slow partition holds nobody else: transactions take what is finished of each. What finishes while one
transaction commits goes into the next, so that batches grow with the load by themselves.

    Away    the record waits and is tried again; its partition is paused meanwhile
    Died    its call's records are suspects, tried alone (`isolation`)
    Fenced  stop at once, commit nothing: somebody newer does our work

Invariant: an output is committed at most once: it leaves `ready` only when it is known to be durable, and whatever is not known
is asked for first (`committing`). Outputs of partitions that were taken from us are dropped, never committed.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.worker import effects, events
from penstock_transformer.worker.bare_letters import MOST, barer
from penstock_transformer.worker.committing import Committing, OutletState
from penstock_transformer.worker.effects import Effect
from penstock_transformer.worker.entries import Entry, PartitionQueue
from penstock_transformer.worker.events import Event, Failure
from penstock_transformer.worker.isolation import Isolation, live
from penstock_transformer.worker.outcomes import Answered, Away, Outcome, Refused
from penstock_transformer.worker.policy import Policy
from penstock_transformer.worker.retries import Retries
from penstock_transformer.worker.room import Room
from penstock_transformer.worker.tally import Tally

CRASHED = "crashed"
TOO_LARGE = "too_large"


class Letters(Protocol):
    """Makes the dead letters that the machine itself decides on: pure functions of the record (a part of `Predicting`)."""

    def crashed(self, record: Record, attempts: int) -> OutRecord: ...

    def too_large(self, record: Record, message: str) -> OutRecord: ...


class Machine:
    """One worker's state. `handle` takes an event and returns what to do, in order; times are seconds of one monotonic clock."""

    def __init__(self, policy: Policy, letters: Letters, random: Random) -> None:
        self.tally = Tally()
        self.queues: dict[Partition, PartitionQueue] = {}
        self.flying: dict[Record, Entry] = {}
        self.isolation = Isolation(policy.backoff, random, policy.deaths_most)
        self.retries = Retries(policy.backoff, random)
        self.committing = Committing(
            policy.backoff, random, policy.transaction_records, policy.transaction_bytes, policy.interval_s
        )
        self.stopped = False
        self._policy = policy
        self._letters = letters
        self._room = Room(policy.held_records, policy.held_bytes)
        self._pending: list[Entry] = []
        self._drain_deadline: float | None = None
        self._wake: float | None = None
        self._effects: list[Effect] = []
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            events.Assigned: self._assigned,
            events.Revoked: self._revoked,
            events.Lost: self._revoked,
            events.Polled: self._polled,
            events.Outcomes: self._outcomes,
            events.Health: self._health,
            events.CommitDone: self._commit_done,
            events.CommitFailed: self._commit_failed,
            events.Restored: self._restored,
            events.RestoreFailed: self._restore_failed,
            events.CommittedOffsets: self._committed_offsets,
            events.Tick: self._tick,
            events.Drain: self._drain,
        }

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event. After a `Stop` nothing follows any more."""
        if self.stopped:
            return []
        found: list[Effect] = []
        self._effects = found
        self._handlers[type(event)](event, now)
        if not self.stopped:
            self._advance(now)
        return found

    def may_release(self, partitions: Sequence[Partition]) -> bool:
        """Whether these, revoked, may go to another member: no commit is under way for them."""
        return not self.committing.holds(partitions)

    @property
    def draining(self) -> bool:
        """Whether nothing more is taken."""
        return self._drain_deadline is not None

    # --- partitions

    def _assigned(self, event: events.Assigned, now: float) -> None:
        del now
        self.tally.rebalances += 1
        self._forget(event.partitions)
        for partition in event.partitions:
            self.queues[partition] = PartitionQueue(partition)
        if event.partitions and not self.draining:
            # A pause from the time before may still be on its way to the reading thread: what is asked for last counts.
            self._effects.append(effects.Resume(event.partitions))

    def _revoked(self, event: events.Revoked | events.Lost, now: float) -> None:
        del now
        self.tally.rebalances += 1
        self._forget(event.partitions)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            queue = self.queues.pop(partition, None)
            if queue is not None:
                queue.alive = False
                self.tally.dropped += len(queue)

    # --- records

    def _polled(self, event: events.Polled, now: float) -> None:
        del now
        if self.draining:
            return
        queues, pending = self.queues, self._pending
        before: Partition | None = None
        queue: PartitionQueue | None = None
        count = len(pending)
        for record in event.records:
            partition = record.partition
            if partition is not before:
                queue, before = queues.get(partition), partition
            if queue is None or record.offset <= queue.last_offset:
                continue
            queue.last_offset = record.offset
            nbytes = record.nbytes
            queue.nbytes += nbytes
            entry = Entry(record, queue, nbytes)
            queue.waiting.append(entry)
            pending.append(entry)
        self.tally.records += len(pending) - count

    def _send(self, entries: list[Entry]) -> None:
        flying = self.flying
        records = [entry.record for entry in entries]
        flying.update(zip(records, entries, strict=True))
        self._effects.append(effects.Predict(records))

    def _outcomes(self, event: events.Outcomes, now: float) -> None:
        flying = self.flying
        away: list[tuple[Entry, float]] = []
        touched: set[PartitionQueue] = set()
        for record, outcome in event.outcomes:
            entry = flying.pop(record, None)
            if entry is None or not entry.queue.alive:
                continue
            if type(outcome) is Answered:
                entry.out = outcome.record
                touched.add(entry.queue)
            else:
                self._no_prediction(entry, outcome, away, touched)
        for queue in touched:
            queue.gather()
        if away:
            self.tally.retries += len(away)
            self.retries.add(away, now)

    def _no_prediction(
        self, entry: Entry, outcome: Outcome, away: list[tuple[Entry, float]], touched: set[PartitionQueue]
    ) -> None:
        if isinstance(outcome, Refused):
            entry.out, entry.reason = outcome.record, outcome.reason
            touched.add(entry.queue)
        elif self.draining:
            pass  # whoever reads it next tries it again
        elif isinstance(outcome, Away):
            if self.isolation.active and not self.isolation.gathering:
                self.isolation.away(entry)
            else:
                away.append((entry, outcome.retry_after_s))
        else:
            self.isolation.died(entry)

    def _health(self, event: events.Health, now: float) -> None:
        group = self.isolation.health(event.healthy, now)
        if group:
            self._send(group)

    # --- commits

    def _commit_done(self, event: events.CommitDone, now: float) -> None:
        del event, now
        self.tally.transactions += 1
        self._count(self.committing.done())

    def _count(self, entries: list[Entry]) -> None:
        tally = self.tally
        for entry in entries:
            if entry.reason is None:
                tally.predictions += 1
            else:
                tally.letters[entry.reason] += 1

    def _commit_failed(self, event: events.CommitFailed, now: float) -> None:
        self.tally.aborts[event.failure.value] += 1
        if event.failure is Failure.TOO_LARGE:
            self._too_large(event)
        elif event.failure is Failure.REBALANCED:
            self.committing.outdated(now)
            self._effects.append(effects.Regroup())
        elif not self._end_of_work(event.failure, event.reason):
            self.committing.broken(now, in_doubt=event.failure is Failure.IN_DOUBT)

    def _end_of_work(self, failure: Failure, reason: str) -> bool:
        if failure is Failure.FENCED:
            self._stop(f"fenced: {reason}", 1)
        elif failure is Failure.REFUSED:
            self._stop(f"the broker refuses: {reason}", 1)
        return self.stopped

    def _too_large(self, event: events.CommitFailed) -> None:
        entry = self.committing.too_large(event.at)
        if entry is None:
            return
        if entry.level > MOST:
            self._stop(f"the topic takes not even a bare dead letter: {event.reason}", 1)
            return
        if entry.reason is None:
            entry.out, entry.reason = self._letters.too_large(entry.record, event.reason), TOO_LARGE
        else:
            assert entry.out is not None
            entry.level += 1
            entry.out = barer(entry.out, entry.level)
        entry.out_bytes = entry.out.nbytes

    def _restored(self, event: events.Restored, now: float) -> None:
        del event, now
        if self.committing.restored():
            batch = self.committing.batch
            assert batch is not None
            self._effects.append(effects.AskCommitted([queue.partition for queue, _ in batch.parts if queue.alive]))

    def _restore_failed(self, event: events.RestoreFailed, now: float) -> None:
        if not self._end_of_work(event.failure, event.reason):
            self.committing.broken(now, in_doubt=False)

    def _committed_offsets(self, event: events.CommittedOffsets, now: float) -> None:
        if event.offsets is None:
            self.committing.untold(now)
        else:
            self._count(self.committing.told(event.offsets))

    # --- time

    def _tick(self, event: events.Tick, now: float) -> None:
        del event, now
        self._wake = None

    def _drain(self, event: events.Drain, now: float) -> None:
        del now
        self._drain_deadline = event.deadline
        self._pending.clear()
        self.retries.clear()
        self.isolation.stop()

    def _stop(self, reason: str, status: int) -> None:
        self.committing.over()
        self.stopped = True
        self._effects.append(effects.Stop(reason, status))

    def _advance(self, now: float) -> None:
        """Do whatever has become possible."""
        if self.isolation.active:
            self._isolate(now)
        if not self.draining and not self.isolation.active:
            self._pending += self.retries.due(now)
            if self._pending:
                pending, self._pending = live(self._pending), []
                if pending:
                    self._send(pending)
        queues = self.queues.values()
        self._commit(now)
        pause, resume = self._room.changes(queues, closed=self.draining)
        if pause:
            self._effects.append(effects.Pause(pause))
        if resume:
            self._effects.append(effects.Resume(resume))
        if self.draining and self._drained(now):
            self._stop("drained", 0)
        else:
            self._wake_up(now)

    def _isolate(self, now: float) -> None:
        if not self.flying:
            for entry in self.isolation.settle(now):
                self.tally.deaths += 1
                entry.out, entry.reason = self._letters.crashed(entry.record, entry.deaths), CRASHED
                entry.queue.gather()
        if self.isolation.due(now):
            self._effects.append(effects.Probe())

    def _commit(self, now: float) -> None:
        committing = self.committing
        if committing.state is OutletState.BROKEN and now >= committing.until:
            committing.state = OutletState.RESTORING
            self._effects.append(effects.Restore())
        elif committing.state is OutletState.UNANSWERED and now >= committing.until:
            self._restored(events.Restored(), now)
        batch = committing.begin(list(self.queues.values()), now, hurry=self.draining)
        if batch is not None:
            self._effects.append(effects.Commit(batch.records, batch.offsets))

    def _drained(self, now: float) -> bool:
        """Nothing of ours is in flight, or its time is over. A commit under way is waited for in any case: the client bounds
        it."""
        assert self._drain_deadline is not None
        if self.committing.state is OutletState.COMMITTING:
            return False
        if now >= self._drain_deadline:
            return True
        flying = any(entry.queue.alive for entry in self.flying.values())
        return not flying and self.committing.state is OutletState.IDLE and not any(q.ready for q in self.queues.values())

    def _wake_up(self, now: float) -> None:
        times = [self.committing.wake(), self._drain_deadline]
        if self.isolation.active:
            times.append(self.isolation.wake)
        elif not self.draining:
            times.append(self.retries.wake)
        due = min((time for time in times if time is not None), default=None)
        if due is not None and (self._wake is None or due < self._wake or self._wake <= now):
            self._wake = due
            self._effects.append(effects.WakeAt(due))
