"""The database side of the relay (`relay.port.Intents`): slots and their leases, and claims of intents under a batch's number.

    slot row (locked) -> is the epoch ours? -> the statement -> commit            everything is one transaction
    PostgreSQL's ordinary claim, and its mark: the same in one statement (`database.relay_statements`)

Claims of different slots come one after the other (an advisory lock; SQLite has one writer anyway), so that two relays never take
one intent, nor overtake each other within a key. Each transaction may be made again when its answer was lost: claims by their
number, the others because doing them twice is doing them once.

Invariant: nothing of a slot changes but for who holds its epoch; leases are by the database's clock.
"""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from penstock_transformer.predictions.database.engine import Engine
from penstock_transformer.predictions.database.relay_statements import INTENT, MARK_STATEMENT, claim_statement
from penstock_transformer.predictions.database.tables import intents, predictions, relay_slots
from penstock_transformer.predictions.port import Predictions
from penstock_transformer.predictions.resource import Ending, Payload, State
from penstock_transformer.relay.port import Claim, Intent, Lease, Slot, Superseded, Waiting

_LOCK = 0x72656C6179  # "relay"
_headers = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode
_slots, _intents = relay_slots.c, intents.c


class DatabaseIntents:
    """Intents in the predictions database. `predictions` ends those that Kafka never takes."""

    def __init__(self, engine: Engine, ending: Predictions) -> None:
        self._engine = engine
        self._predictions = ending

    async def lease(self, owner: str, lease_s: float, *, take_back: bool) -> Lease:
        """As `Intents.lease`."""

        def take(connection: sa.Connection) -> Lease:
            self._one_at_a_time(connection)
            now = connection.execute(sa.select(self._engine.now)).scalar_one()
            rows = connection.execute(sa.select(relay_slots).order_by(_slots.name).with_for_update()).all()
            name = _choose(rows, owner, now, take_back)
            if name is None:
                name = f"{len(rows)}-{secrets.token_hex(4)}"
                new = {"name": name, "owner": None, "epoch": 0, "until_s": 0.0, "batch": 0, "pending": False}
                connection.execute(sa.insert(relay_slots).values(new))
            taken = connection.execute(
                sa.update(relay_slots)
                .where(_slots.name == name)
                .values(owner=owner, epoch=_slots.epoch + 1, until_s=now + lease_s)
                .returning(_slots.epoch, _slots.batch, _slots.pending)
            )
            row = taken.one()
            return Lease(Slot(name, row.epoch), row.batch, row.pending)

        return await self._engine.write(take)

    async def renew(self, slot: Slot, lease_s: float) -> bool:
        """As `Intents.renew`."""
        now = self._engine.now

        def hold(connection: sa.Connection) -> bool:
            if not connection.execute(_of(sa.update(relay_slots), slot).values(until_s=now + lease_s)).rowcount:
                raise _superseded(slot)
            left = sa.exists().where(_slots.pending, _slots.until_s < now)
            return bool(connection.execute(sa.select(left)).scalar_one())

        return await self._engine.write(hold)

    async def claim(self, slot: Slot, after: int, number: int, what: Claim) -> Sequence[Intent]:
        """As `Intents.claim`."""
        if not self._engine.is_sqlite and not what.one_model:
            return await self._claim_at_once(slot, after, number, what)

        def take(connection: sa.Connection) -> Sequence[Intent]:
            self._one_at_a_time(connection)
            batch, pending = _held(connection, slot)
            if pending and batch == number:
                return _batch(connection, slot, number)
            _check_turn(slot, batch, pending, after)
            claimed = connection.execute(
                sa.update(intents)
                .where(_intents.sequence.in_(_claimable(slot, what)), _intents.holder.is_(None))
                .values(holder=slot.name, batch=number)
                .execution_options(synchronize_session=False)
            )
            if not claimed.rowcount:
                return ()
            connection.execute(_of(sa.update(relay_slots), slot).values(batch=number, pending=True))
            return _batch(connection, slot, number)

        return await self._engine.write(take)

    async def _claim_at_once(self, slot: Slot, after: int, number: int, what: Claim) -> Sequence[Intent]:
        statement = claim_statement(what.records, what.nbytes)
        rows = await self._engine.fetch_locked(_LOCK, statement, *slot, after, number, sorted(what.avoid))
        if not rows:
            raise _superseded(slot)
        batch, pending = rows[0][0], rows[0][1]
        if pending and batch == number:
            return await self.load(slot, number)
        _check_turn(slot, batch, pending, after)
        return [_intent(row[2:]) for row in rows if row[2] is not None]

    async def load(self, slot: Slot, number: int) -> Sequence[Intent]:
        """As `Intents.load`."""

        def look(connection: sa.Connection) -> Sequence[Intent]:
            _held(connection, slot)
            return _batch(connection, slot, number)

        # In a transaction, though it changes nothing: the slot stays ours until the batch has been read.
        return await self._engine.write(look)

    async def mark(self, slot: Slot, number: int) -> int:
        """As `Intents.mark`."""
        if not self._engine.is_sqlite:
            rows = await self._engine.fetch(MARK_STATEMENT, *slot, number)
            if not rows:
                raise _superseded(slot)
            return int(rows[0][0])
        return await self._settle(slot, number, sa.delete(intents))

    async def unclaim(self, slot: Slot, number: int) -> None:
        """As `Intents.unclaim`."""
        await self._settle(slot, number, sa.update(intents).values(holder=None, batch=None))

    async def _settle(self, slot: Slot, number: int, statement: sa.Delete | sa.Update) -> int:
        def settle(connection: sa.Connection) -> int:
            batch, pending = _held(connection, slot)
            if batch != number or not pending:
                return 0
            done = connection.execute(statement.where(_intents.holder == slot.name, _intents.batch == number))
            connection.execute(_of(sa.update(relay_slots), slot).values(pending=False))
            return int(done.rowcount)

        return await self._engine.write(settle)

    async def refuse(self, slot: Slot, number: int, intent_id: str, message: str) -> None:
        """As `Intents.refuse`. The ending comes first and tells who waits; made again, both change nothing."""
        await self._predictions.end([Ending(intent_id, State.FAILED, kind="too_large", message=message)])
        one = sa.and_(_intents.holder == slot.name, _intents.batch == number, _intents.prediction_id == intent_id)

        def drop(connection: sa.Connection) -> None:
            _held(connection, slot)
            connection.execute(sa.delete(intents).where(one))

        await self._engine.write(drop)

    async def release(self, slot: Slot) -> None:
        """As `Intents.release`."""
        freed = _of(sa.update(relay_slots), slot).values(owner=None, until_s=0.0)
        await self._engine.write(lambda connection: connection.execute(freed))

    async def waiting(self) -> Waiting:
        """As `Intents.waiting`."""
        asked = sa.select(sa.func.count(), sa.func.min(_intents.created_s)).select_from(intents)
        count, oldest_s = await self._engine.read(lambda connection: connection.execute(asked).one())
        return Waiting(count, oldest_s)

    def _one_at_a_time(self, connection: sa.Connection) -> None:
        if not self._engine.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def _choose(rows: Sequence[Any], owner: str, now: float, take_back: bool) -> str | None:
    """The slot to take: the owner's own, his instance's, one left with a pending batch, any free one; None: a new one."""
    instance = owner.partition(":")[0] + ":"

    def rank(row: Any) -> int | None:
        if row.owner == owner:
            return 0
        if take_back and row.owner is not None and row.owner.startswith(instance):
            return 1
        if row.owner is None or row.until_s < now:
            return 2 if row.pending else 3
        return None

    ranked = [(place, row.name) for row in rows if (place := rank(row)) is not None]
    return min(ranked)[1] if ranked else None


def _of(statement: sa.Update, slot: Slot) -> sa.Update:
    return statement.where(_slots.name == slot.name, _slots.epoch == slot.epoch)


def _held(connection: sa.Connection, slot: Slot) -> tuple[int, bool]:
    """The slot's latest batch and whether it is pending; nobody else changes it until the transaction ends."""
    found = connection.execute(
        sa.select(_slots.batch, _slots.pending).where(_slots.name == slot.name, _slots.epoch == slot.epoch).with_for_update()
    )
    row = found.one_or_none()
    if row is None:
        raise _superseded(slot)
    return row.batch, row.pending


def _superseded(slot: Slot) -> Superseded:
    return Superseded(f"slot {slot.name} has another owner")


def _check_turn(slot: Slot, batch: int, pending: bool, after: int) -> None:
    if pending or batch != after:
        raise Superseded(f"slot {slot.name} is at batch {batch}, expected {after}")


def _claimable(slot: Slot, what: Claim) -> sa.Select[tuple[int]]:
    """The sequences of what may be claimed: the first so many, as far as their bytes go."""
    others = intents.alias("others")
    overtakes = sa.exists().where(
        others.c.holder.is_not(None),
        others.c.holder != slot.name,
        others.c.model == _intents.model,
        others.c.record_key == _intents.record_key,
    )
    waiting = sa.and_(_intents.holder.is_(None), sa.not_(overtakes))
    if what.avoid:
        waiting = sa.and_(waiting, _intents.model.not_in(sorted(what.avoid)))
    if what.one_model:
        first = sa.select(_intents.model).where(waiting).order_by(_intents.sequence).limit(1).scalar_subquery()
        waiting = sa.and_(waiting, _intents.model == first)
    columns = sa.select(_intents.sequence, _intents.nbytes).where(waiting)
    head = columns.order_by(_intents.sequence).limit(what.records).subquery()
    total = sa.func.sum(head.c.nbytes).over(order_by=head.c.sequence)
    sized = sa.select(head.c.sequence, head.c.nbytes, total.label("total")).subquery()
    return sa.select(sized.c.sequence).where(sa.or_(sized.c.total == sized.c.nbytes, sized.c.total <= what.nbytes))


def _batch(connection: sa.Connection, slot: Slot, number: int) -> list[Intent]:
    found = connection.execute(
        sa.select(*INTENT)
        .join_from(intents, predictions, predictions.c.sequence == _intents.sequence)
        .where(_intents.holder == slot.name, _intents.batch == number)
        .order_by(_intents.sequence)
    )
    return [_intent(row) for row in found]


def _intent(row: Sequence[Any]) -> Intent:
    """A row of `INTENT`."""
    identity, model, sequence, key, headers, created_s, body, input_headers, nbytes, reference = row
    payload = Payload(body, _headers(input_headers), nbytes, reference)
    return Intent(identity, model, sequence, payload, key, _headers(headers), created_s)
