"""The relay's state machine: intents in the database become records on Kafka, each once. No I/O: events in, effects out.

    lease a slot -> open its transactional id (fences who had it) -> read its marker
         ^                                                                |
         |            +-- pending batch, marker below it: load -----------+-- pending batch, marker not below it: mark
         |            v                                                   v
    fenced, lost <- send records and marker in one transaction -> mark -> claim -> send ...   nothing to claim: idle
         |            |
         +--          +-- retriable, in doubt: restore -> read the marker -> send again, or mark

Why it makes neither loss nor double: a batch is pending in the database from before it is sent until after; its records and its
marker are one transaction; and whoever takes the transactional id over (at the start, after every fault) reads the marker before
it sends anything, while everybody else is fenced. So of each batch exactly one transaction commits, whoever wrote it. Numbers are
compared, not names: one who was away for long finds a marker of a later batch, and knows that his own was sent.

The slot's epoch keeps losers from changing the database. Losing the lease is never dangerous, only useless: so the machine trusts
no clock for more than when to try again.
"""

from collections.abc import Sequence

import msgspec

from penstock_transformer.backoff import Doubling
from penstock_transformer.relay import effects as fx
from penstock_transformer.relay import events as ev
from penstock_transformer.relay.port import Claim, Intent, Lease, Slot
from penstock_transformer.relay.shunned import Shunned


class RelayLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a batch, and times in s. `sweep_s`: look for intents that often without being woken, should a notification be
    lost. `renew_s` is a third of the lease or less."""

    records: int = 500
    nbytes: int = 4 * 1024 * 1024
    renew_s: float = 3.0
    sweep_s: float = 5.0
    retry_s: float = 0.1
    retry_most_s: float = 5.0
    shun_most_s: float = 30.0


class RelayMachine:
    """One relay. `start`, then `handle` takes an event and answers what is to be done now; at most one effect is under way, and
    `Renew` beside it. Late answers (to effects that a Broken has ended) are the shell's to keep away.
    """

    def __init__(self, limits: RelayLimits) -> None:
        self._limits = limits
        self._now = 0.0
        self._slot: Slot | None = None
        self._number = 0  # of the slot's latest batch, as the database has it
        self._marker = 0  # of the latest batch that Kafka has
        self._pending = False
        self._intents: Sequence[Intent] | None = None  # the pending batch, where it is in memory
        self._refused = False
        self._under_way: fx.Effect | None = None
        self._again: tuple[float, fx.Effect] | None = None
        self._sweep_at: float | None = None
        self._renew_at: float | None = None
        self._woken = self._abandoned = self._stopping = False
        self._first = True
        self._backoff = Doubling(limits.retry_s, limits.retry_most_s)
        self._shunned = Shunned(limits.retry_s, limits.shun_most_s)
        self.takeovers = 0
        self.batches = 0
        self.published = 0
        self.faults = 0
        self.finished = False

    @property
    def slot(self) -> Slot | None:
        """The slot that it holds, as far as it knows."""
        return self._slot

    @property
    def deadline(self) -> float | None:
        """When it wants a Tick, in the clock's s; None: not before the next event."""
        again = self._again[0] if self._again is not None else None
        return min((time for time in (self._renew_at, self._sweep_at, again) if time is not None), default=None)

    def start(self, now: float) -> list[fx.Effect]:
        """The first effect."""
        self._now = now
        return self._lease()

    def handle(self, event: ev.Event, now: float) -> list[fx.Effect]:
        """What to do after this."""
        self._now = now
        if self.finished:
            return []
        match event:
            case ev.Tick():
                return self._tick()
            case ev.Woken():
                self._woken = True
                return self._next() if self._resting else []
            case ev.Stop():
                self._stopping = True
                return self._leave() if self._under_way is None else []
            case ev.Renewed(abandoned):
                self._abandoned = abandoned
                self._renew_at = now + self._limits.renew_s if self._slot else None
                return self._next() if abandoned and self._resting else []
            case ev.RenewFailed():
                self._renew_at = now + self._limits.renew_s if self._slot else None
                return []
        done, self._under_way = self._under_way, None
        return self._answered(event, done)

    def _answered(self, event: ev.Event, done: fx.Effect | None) -> list[fx.Effect]:
        self.faults += isinstance(event, ev.Failed | ev.Lost | ev.Broken | ev.SendFailed)
        match event:
            case ev.Failed():
                return self._leave() if self._stopping else self._later(done)
            case ev.Lost():
                return self._begin_anew()
            case ev.Broken():
                return self._begin_anew(pause=True)
            case ev.Leased(lease):
                return self._leased(lease)
            case ev.Opened():
                return self._do(fx.ReadMarker(self._held))
            case ev.MarkerRead(number):
                return self._marker_read(number)
            case ev.Loaded(intents):
                self._intents = intents
                return self._send()
            case ev.Claimed(intents):
                return self._claimed(intents, done)
            case ev.Sent():
                return self._sent()
            case ev.SendFailed():
                return self._send_failed(event)
            case ev.Refused():
                return self._do(fx.Restore(self._held))
            case ev.Marked() | ev.Unclaimed():
                self._backoff.reset()
                if isinstance(event, ev.Marked):
                    self.batches += 1
                    self.published += event.intents
                self._pending, self._intents = False, None
                return self._next()
            case ev.Released():
                return self._begin_anew()
        raise AssertionError(event)

    # --- what is next

    @property
    def _held(self) -> Slot:
        assert self._slot is not None
        return self._slot

    @property
    def _resting(self) -> bool:
        """Nothing was there to claim."""
        return self._sweep_at is not None

    def _do(self, effect: fx.Effect) -> list[fx.Effect]:
        self._under_way, self._sweep_at, self._again = effect, None, None
        return [effect]

    def _later(self, effect: fx.Effect | None) -> list[fx.Effect]:
        """This after a while, longer each time."""
        assert effect is not None
        self._again = (self._now + self._backoff.next(), effect)
        return []

    def _tick(self) -> list[fx.Effect]:
        found: list[fx.Effect] = []
        if self._renew_at is not None and self._renew_at <= self._now and self._slot is not None:
            self._renew_at = None
            found.append(fx.Renew(self._slot))
        if self._again is not None and self._again[0] <= self._now:
            found += self._do(self._again[1])
        elif self._sweep_at is not None and self._sweep_at <= self._now:
            found += self._next()
        return found

    def _next(self) -> list[fx.Effect]:
        """Between two batches: claim one more, or leave."""
        if self._stopping or self._abandoned:
            return self._leave()
        self._woken = False
        number = max(self._number, self._marker) + 1
        avoid, narrow = self._shunned.avoided(self._now), self._shunned.narrow(self._now)
        what = Claim(self._limits.records, self._limits.nbytes, avoid, narrow)
        return self._do(fx.ClaimBatch(self._held, self._number, number, what))

    # --- the slot

    def _lease(self) -> list[fx.Effect]:
        return self._do(fx.LeaseSlot(take_back=self._first))

    def _leased(self, lease: Lease) -> list[fx.Effect]:
        self._slot, self._number, self._pending = lease.slot, lease.batch, lease.pending
        self._first = self._abandoned = False
        self._renew_at = self._now + self._limits.renew_s
        self.takeovers += lease.pending
        return self._leave() if self._stopping else self._do(fx.Open(lease.slot))

    def _leave(self) -> list[fx.Effect]:
        """Give the slot back, a pending batch with it: who takes the slot finds it."""
        if self._slot is None:
            return self._begin_anew()
        slot = self._slot
        self._forget()
        return self._do(fx.Release(slot))

    def _forget(self) -> None:
        self._slot, self._intents, self._renew_at = None, None, None
        self._pending = self._refused = self._abandoned = False
        self._marker = 0

    def _begin_anew(self, *, pause: bool = False) -> list[fx.Effect]:
        """Database and broker say what is true: nothing that was in memory counts any more."""
        self._forget()
        if self._stopping:
            self.finished, self._again, self._sweep_at = True, None, None
            return [fx.Finish()]
        self._sweep_at = None
        return self._later(fx.LeaseSlot(take_back=self._first)) if pause else self._lease()

    # --- a batch

    def _marker_read(self, number: int) -> list[fx.Effect]:
        """The producer is ours, and nobody else's can commit any more: the marker says what happened, for good."""
        self._marker = number
        refused, self._refused = self._refused, False
        if not self._pending:
            return self._next()
        if number >= self._number:
            return self._do(fx.MarkBatch(self._held, self._number))
        if refused:
            return self._do(fx.UnclaimBatch(self._held, self._number))
        return self._do(fx.LoadBatch(self._held, self._number)) if self._intents is None else self._send()

    def _claimed(self, intents: Sequence[Intent], done: fx.Effect | None) -> list[fx.Effect]:
        assert isinstance(done, fx.ClaimBatch)
        self._backoff.reset()
        if intents:
            self._number, self._pending, self._intents = done.number, True, intents
            return self._send()
        if self._woken or self._abandoned or self._stopping:
            return self._next()
        self._sweep_at = self._now + self._limits.sweep_s
        return []

    def _send(self) -> list[fx.Effect]:
        """An empty batch (all of it canceled or refused since) has nothing to send, and its number is never asked for."""
        if not self._intents:
            return self._do(fx.MarkBatch(self._held, self._number))
        return self._do(fx.Send(self._held, self._number, self._intents))

    def _sent(self) -> list[fx.Effect]:
        self._backoff.reset()
        self._marker = self._number
        self._shunned.accept(self._models())
        return self._do(fx.MarkBatch(self._held, self._number))

    def _send_failed(self, event: ev.SendFailed) -> list[fx.Effect]:
        if event.fault is ev.Fault.FENCED:
            return self._begin_anew(pause=True)
        if self._stopping:
            return self._leave()
        if event.fault is ev.Fault.TOO_LARGE:
            return self._refuse(event)
        if event.fault is ev.Fault.REFUSED and self._intents:
            self._shunned.refuse(self._models(), self._now)
            self._refused = True
        return self._later(fx.Restore(self._held))

    def _refuse(self, event: ev.SendFailed) -> list[fx.Effect]:
        """One record is over what its topic takes: it goes, the others are sent. Without a word which, it was the largest."""
        intents, at = self._intents, event.at
        assert intents
        if at is None or at >= len(intents):
            at = max(range(len(intents)), key=lambda place: intents[place].payload.nbytes)
        self._intents = [*intents[:at], *intents[at + 1 :]]
        return self._do(fx.Refuse(self._held, self._number, intents[at].id, event.reason))

    def _models(self) -> frozenset[str]:
        return frozenset(intent.model for intent in self._intents or ())
