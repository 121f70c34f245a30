"""The table as the queue: waiting intents are claimed by holders with leases, given back, and taken from holders out of time.

A claim of ours has no batch number: those that have one belong to a relay, and are not touched here.
"""

from collections.abc import Sequence
from operator import itemgetter

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from penstock_transformer.predictions.changes import Changes
from penstock_transformer.predictions.database.engine import SQLITE_NOW, Engine
from penstock_transformer.predictions.database.postgres_statements import ARRIVALS, claim_statement, notify_statement
from penstock_transformer.predictions.database.rows import CLAIM, OPEN, among, claim_of
from penstock_transformer.predictions.database.tables import intents, predictions, queue_holders
from penstock_transformer.predictions.port import Backlog, Claim, fitting
from penstock_transformer.predictions.resource import State

_CLAIM = claim_statement()

p, i, h = predictions.c, intents.c, queue_holders.c

# SQLite's claim. Built once: building a statement costs more than SQLite's part of it.
_WAITING = (
    sa.select(i.sequence, i.nbytes)
    .where(i.model == sa.bindparam("of_model"), i.holder.is_(None))
    .order_by(i.priority, i.sequence)
    .limit(sa.bindparam("most"))
)
_TAKEN = sa.select(sa.func.json_each(sa.bindparam("taken", type_=sa.Text)).table_valued("value").c.value)
_HOLD = sa.update(intents).where(i.sequence.in_(_TAKEN)).values(holder=sa.bindparam("by"), batch=None)
_START = (
    sa.update(predictions)
    .where(p.sequence.in_(_TAKEN), p.state.in_(OPEN))
    .values(state=State.PROCESSING.value, started_s=sa.func.coalesce(p.started_s, SQLITE_NOW))
    .returning(*CLAIM)
)


class Claiming:
    """Claims of one database (the part of `Claims` that reads and writes it)."""

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine = engine
        self._changes = changes

    async def claim(self, model: str, holder: str, limit: int, nbytes: int) -> list[Claim]:
        """As `Claims.claim`."""
        if self._engine.is_sqlite:
            return await self._claim_sqlite(model, holder, limit, nbytes)
        rows = await self._engine.fetch(_CLAIM, model, limit, holder, nbytes)
        return [claim_of(row) for row in sorted((row for row in rows if row[0] is not None), key=itemgetter("place"))]

    async def _claim_sqlite(self, model: str, holder: str, limit: int, nbytes: int) -> list[Claim]:
        def take(connection: sa.Connection) -> list[Claim]:
            found = connection.execute(_WAITING, {"of_model": model, "most": limit}).all()
            if not found:
                return []
            sequences = [row[0] for row in found[: fitting([row[1] for row in found], nbytes)]]
            taken = {"taken": msgspec.json.encode(sequences).decode()}
            connection.execute(_HOLD, taken | {"by": holder})
            started = connection.execute(_START, taken)
            rows = {row[0]: claim_of(row) for row in started}
            return [rows[sequence] for sequence in sequences if sequence in rows]

        return await self._engine.write(take, self._taken)

    def _taken(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._changes.tell(claim.id, State.PROCESSING)

    async def held(self, model: str, holder: str) -> list[str]:
        """As `Claims.held`."""
        held = sa.select(i.prediction_id).where(i.holder == holder, i.batch.is_(None), i.model == model)
        return await self._engine.read(lambda connection: list(connection.execute(held).scalars()))

    async def backlog(self) -> list[Backlog]:
        """As `Claims.backlog`."""
        waiting = sa.func.count().filter(i.holder.is_(None))
        counted = sa.select(i.model, waiting, sa.func.count() - waiting, sa.func.min(i.created_s)).group_by(i.model)
        return await self._engine.read(
            lambda connection: [Backlog(*row) for row in connection.execute(counted.order_by(i.model))]
        )

    async def give_back(self, holder: str, ids: Sequence[str] | None = None) -> None:
        """As `Claims.give_back`."""
        which = (i.holder == holder) & i.batch.is_(None)
        if ids is not None:
            which &= among(i.prediction_id, ids, sqlite=self._engine.is_sqlite)

        def let_go(connection: sa.Connection) -> set[str]:
            models = self._let_wait(connection, which)
            if ids is None:
                connection.execute(sa.delete(queue_holders).where(h.holder == holder))
            return models

        await self._engine.write(let_go, self._tell)

    async def forget_holders(self) -> None:
        """No holder lives: all that any holds waits. For who alone has the database (SQLite), at its opening."""

        def forget(connection: sa.Connection) -> None:
            self._let_wait(connection, i.holder.is_not(None) & i.batch.is_(None))
            connection.execute(sa.delete(queue_holders))

        await self._engine.write(forget)

    async def renew(self, holder: str, lease_s: float) -> None:
        """As `Claims.renew`."""
        now = self._engine.now
        insert = sqlite.insert if self._engine.is_sqlite else postgresql.insert
        mine = insert(queue_holders).values(holder=holder, until_s=now + lease_s)

        def hold(connection: sa.Connection) -> set[str]:
            connection.execute(mine.on_conflict_do_update(index_elements=[h.holder], set_={"until_s": mine.excluded.until_s}))
            return self._bury(connection)

        await self._engine.write(hold, self._tell)

    async def bury(self) -> None:
        """What holders out of time held waits again: for a database whose queue nobody drains any more, but a relay."""
        await self._engine.write(self._bury, self._tell)

    def _bury(self, connection: sa.Connection) -> set[str]:
        living = sa.select(h.holder).where(h.until_s >= self._engine.now)
        models = self._let_wait(connection, i.holder.is_not(None) & i.batch.is_(None) & i.holder.not_in(living))
        connection.execute(sa.delete(queue_holders).where(h.until_s < self._engine.now))
        return models

    def _let_wait(self, connection: sa.Connection, which: sa.ColumnElement[bool]) -> set[str]:
        locked = sa.select(i.sequence).where(which).order_by(i.sequence).with_for_update()
        sequences = [row[0] for row in connection.execute(locked)]
        if not sequences:
            return set()
        waiting = sa.update(intents).where(among(i.sequence, sequences, sqlite=self._engine.is_sqlite)).values(holder=None)
        models = {row[0] for row in connection.execute(waiting.returning(i.model))}
        if not self._engine.is_sqlite:
            for model in models:
                connection.execute(notify_statement(ARRIVALS, model))
        return models

    def _tell(self, models: set[str]) -> None:
        for model in models:
            self._changes.arrived(model)
