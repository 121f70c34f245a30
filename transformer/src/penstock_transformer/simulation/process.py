"""One worker process of a history: the real machine; threads, pipeline and timers as generators that a scheduler steps.

    intake ~ IntakeThread, outlet ~ OutletThread, loop ~ WorkerShell: the same order of calls and events, a step at each
    point at which a real thread may be interrupted; the outlet is the worker's own `Alternating`, over two of the simulation's

A crash drops the object between any two steps, between two effects of one event too.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from penstock_transformer.broker.alternating import Alternating
from penstock_transformer.broker.port import BrokerError, Fenced, InDoubt, Rebalanced, Retriable, TooLargeForTopic
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.simulation.broker import SimBroker
from penstock_transformer.simulation.outlet import Calls, SimOutlet, Steps
from penstock_transformer.simulation.predictor import SimPredictor
from penstock_transformer.worker import effects, events
from penstock_transformer.worker.events import Event, Failure
from penstock_transformer.worker.machine import Machine

_AHEAD = 2
_FAILURES = ((InDoubt, Failure.IN_DOUBT), (Retriable, Failure.RETRIABLE), (Rebalanced, Failure.REBALANCED),
             (Fenced, Failure.FENCED), (TooLargeForTopic, Failure.TOO_LARGE))  # fmt: skip


class Crashed(Exception):
    """The process ended between two effects."""


class SimProcess:
    """`name` is its instance, and what its transactional ids begin with. `loses_answers` and `crashes` are chances a step."""

    def __init__(
        self, name: str, machine: Machine, broker: SimBroker, predictor: SimPredictor, random: Random, *, loses_answers: float
    ) -> None:
        self.name = name
        self.machine = machine
        self.ended: effects.Stop | None = None
        self.crash_at_effect: int | None = None
        self.wake: float | None = None
        self.paused_until = 0.0
        self.predictor = predictor
        self.loses_answers = loses_answers
        self._broker = broker
        self._random = random
        self._mail: deque[tuple[Event, tuple[str, int] | None]] = deque()
        self._commands: deque[Callable[[], None]] = deque()
        self._handed = 0
        self._group = ("", -1)
        self._member = ""
        self._generation = -1
        self._owned: dict[Partition, int | None] = {}
        self._paused: set[Partition] = set()
        self._calls = Calls()
        self._outlet = Alternating(self._outlet_of(name), self._outlet_of(f"{name}/2"))
        self._work: Steps | None = self._opening()
        self._intake: Steps | None = None
        self._probing = False
        self._threads = (self._step_loop, self._step_intake, self._step_outlet, self._step_predictor)
        self._carry: dict[type, Callable[[Any], None]] = {
            effects.Predict: self._predict,
            effects.Pause: lambda effect: self._commands.append(lambda: self._paused.update(effect.partitions)),
            effects.Resume: lambda effect: self._commands.append(lambda: self._paused.difference_update(effect.partitions)),
            effects.Commit: self._commit,
            effects.Restore: lambda _: self._begin(self._restoring()),
            effects.AskCommitted: lambda effect: self._commands.append(lambda: self._asked(effect.partitions)),
            effects.Regroup: lambda _: None,
            effects.Probe: self._probe,
            effects.WakeAt: self._wake_at,
            effects.Stop: self._stop,
        }

    # --- what the scheduler does

    def step(self, now: float) -> None:
        """One step of one of its threads."""
        member = self._broker.members.get(self._member)
        if member is not None:
            member.seen = now
        if self._probing and self._random.random() < 0.5:
            self._probing = False
            self._tell(events.Health(self.predictor.healthy(now)))
        self._threads[int(self._random.random() * 4)](now)
        if self.ended is None and self.wake is not None and now >= self.wake:
            self.wake = None
            self._handle(events.Tick(), now)

    def close(self) -> None:
        """Leave in order."""
        self._broker.leave(self._member)

    @property
    def idle(self) -> bool:
        """Whether nothing but time moves it."""
        return not self._mail and self._work is None and not self.predictor.calls and not self._probing

    def _tell(self, event: Event, group: tuple[str, int] | None = None) -> None:
        self._mail.append((event, group))

    # --- the loop

    def _step_loop(self, now: float) -> None:
        if not self._mail:
            return
        event, group = self._mail.popleft()
        if group is not None:
            self._group = group
        if isinstance(event, events.Polled):
            self._handed -= 1
        self._handle(event, now)

    def _handle(self, event: Event, now: float) -> None:
        for effect in self.machine.handle(event, now):
            if self.crash_at_effect is not None:
                self.crash_at_effect -= 1
                if self.crash_at_effect < 0:
                    raise Crashed
            self._carry[type(effect)](effect)

    def _predict(self, effect: effects.Predict) -> None:
        self.predictor.calls += effect.records

    def _probe(self, effect: effects.Probe) -> None:
        del effect
        self._probing = True

    def _wake_at(self, effect: effects.WakeAt) -> None:
        self.wake = effect.when if self.wake is None else min(self.wake, effect.when)

    def _stop(self, effect: effects.Stop) -> None:
        self.ended = effect

    def drain(self, deadline: float) -> None:
        """SIGTERM."""
        self._tell(events.Drain(deadline))

    # --- the pipeline

    def _step_predictor(self, now: float) -> None:
        if self.predictor.calls:
            self._outcomes(self.predictor.step(now))

    def kill_predictor(self, now: float) -> None:
        """End the predictor for no reason of the records'."""
        self._outcomes(self.predictor.kill(now))

    def _outcomes(self, outcomes: list[tuple[Record, Any]]) -> None:
        if outcomes:
            self._tell(events.Outcomes(outcomes))

    # --- the outlet's thread

    def _outlet_of(self, name: str) -> SimOutlet:
        return SimOutlet(name, self._broker, self._calls, self._random, lambda: self.loses_answers)

    def _begin(self, work: Steps) -> None:
        assert self._work is None, "one call of the outlet at a time"
        self._work = work

    def _step_outlet(self, now: float) -> None:
        del now
        if self._work is not None:
            work = self._work
            if next(work, self) is self and self._work is work:
                self._work = None

    def _opening(self) -> Steps:
        while True:
            yield
            try:
                yield from self._calls.made(self._outlet.open)
            except Retriable:
                continue
            self._intake = self._reading()
            return

    def _restoring(self) -> Steps:
        yield
        try:
            yield from self._calls.made(self._outlet.restore)
        except Retriable as error:
            self._tell(events.RestoreFailed(Failure.RETRIABLE, str(error)))
        else:
            self._tell(events.Restored())

    def _commit(self, effect: effects.Commit) -> None:
        self._begin(self._committing(effect, self._group))

    def _committing(self, effect: effects.Commit, group: tuple[str, int]) -> Steps:
        try:
            yield from self._calls.made(lambda: self._outlet.commit(effect.records, effect.offsets, group))
        except BrokerError as error:
            failure = next(failure for kind, failure in _FAILURES if isinstance(error, kind))
            self._tell(events.CommitFailed(failure, str(error), getattr(error, "at", None)))
        else:
            self._tell(events.CommitDone())

    # --- the intake's thread

    def _step_intake(self, now: float) -> None:
        del now
        if self._intake is not None:
            next(self._intake)

    def _asked(self, partitions: list[Partition]) -> None:
        broker = self._broker
        if not broker.up or not all(broker.stable(partition) for partition in partitions):
            self._tell(events.CommittedOffsets(None))
        else:
            self._tell(events.CommittedOffsets({partition: broker.committed.get(partition) for partition in partitions}))

    def _reading(self) -> Steps:
        while True:
            yield
            while self._commands:
                self._commands.popleft()()
                yield
            if self._handed >= _AHEAD:
                continue
            try:
                yield from self._poll()
            except Retriable:
                yield
            except Rebalanced:
                self._leave_lost()
                yield

    def _leave_lost(self) -> None:
        if self._owned:
            self._tell(events.Lost(tuple(self._owned)))
        self._owned.clear()
        self._member = ""

    def _poll(self) -> Steps:
        broker = self._broker
        if not self._member:
            self._member = broker.join(self.name)
            yield
        self._generation, target = broker.sync(self._member)
        give = set(self._owned) - target
        if give:
            self._tell(events.Revoked(tuple(sorted(give))))
            for partition in give:
                del self._owned[partition]
            yield
            # Whoever lets go must have been told: its events come first.
            while any(isinstance(event, events.Revoked) for event, _ in self._mail) or not self.machine.may_release(tuple(give)):
                yield
            broker.release(self._member, give)
            yield
            return
        taken = broker.claim(self._member)
        if taken:
            self._owned.update(dict.fromkeys(sorted(taken)))
            self._paused -= taken
            self._tell(events.Assigned(tuple(sorted(taken))), (self._member, self._generation))
            yield
        records = self._fetch()
        self._handed += 1
        self._tell(events.Polled(records), (self._member, self._generation))

    def _fetch(self) -> list[Record]:
        broker, found = self._broker, []
        for partition, position in list(self._owned.items()):
            if position is None:
                if not broker.stable(partition):
                    continue
                position = self._owned[partition] = broker.committed.get(partition, 0)
            if partition in self._paused or self._random.random() < 0.3:
                continue
            log = broker.requests[partition]
            begin = bisect_left(log, position, key=lambda record: record.offset)
            records = log[begin : begin + self._random.randint(1, 8)]
            if records:
                self._owned[partition] = records[-1].offset + 1
            found += records
        return found
