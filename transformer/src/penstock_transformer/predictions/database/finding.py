"""Reading predictions: one, its input, its place in the queue, and lists of them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.errors import NotFound
from penstock_transformer.predictions.cursor import cursor_after, sequence_before
from penstock_transformer.predictions.database.engine import Engine
from penstock_transformer.predictions.database.rows import INPUT, PREDICTION, among, payload_of, prediction_of, storable
from penstock_transformer.predictions.database.tables import intents, predictions
from penstock_transformer.predictions.port import Filter, Page
from penstock_transformer.predictions.resource import Payload, Prediction, State

p = predictions.c
# A place further back is not counted: that would cost every caller who asks as much as the queue is long.
MOST_POSITION = 10_000


class _One:
    """A read of one prediction by its id and, if given, its owner: for SQLAlchemy, and as text for PostgreSQL's driver."""

    def __init__(self, columns: Sequence[sa.Column[Any]]) -> None:
        owner = sa.bindparam("owner", type_=sa.Text)
        self.statement = sa.select(*columns).where(p.id == sa.bindparam("wanted"), owner.is_(None) | (p.owner == owner))
        listed = ", ".join(f'"{column.name}"' for column in columns)
        self.text = f"SELECT {listed} FROM {predictions.name} WHERE id = $1 AND ($2::text IS NULL OR owner = $2)"


_WHOLE, _INPUT, _STATE = _One(PREDICTION), _One(INPUT), _One((p.state,))


class Finding:
    """Reads of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(self, prediction_id: str, owner: str | None) -> Prediction:
        """As `Predictions.get`."""
        return prediction_of(await self._one(_WHOLE, prediction_id, owner))

    async def input(self, prediction_id: str, owner: str | None) -> Payload:
        """As `Predictions.input`."""
        return payload_of(await self._one(_INPUT, prediction_id, owner))

    async def state(self, prediction_id: str) -> State:
        """Raises NotFound."""
        return State((await self._one(_STATE, prediction_id, None))[0])

    async def _one(self, wanted: "_One", prediction_id: str, owner: str | None) -> Sequence[Any]:
        row: Any = None
        if storable(prediction_id) and (owner is None or storable(owner)):
            if self._engine.is_sqlite:
                given = {"wanted": prediction_id, "owner": owner}
                row = await self._engine.read(lambda connection: connection.execute(wanted.statement, given).first())
            else:
                row = next(iter(await self._engine.fetch(wanted.text, prediction_id, owner)), None)
        if row is None:
            raise NotFound(f"no prediction {prediction_id[:100]!r}", field="prediction_id")
        return tuple(row)

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """As `Predictions.existing`."""
        known = [prediction_id for prediction_id in ids if storable(prediction_id)]
        wanted = sa.select(p.id).where(among(p.id, known, sqlite=self._engine.is_sqlite))
        return await self._engine.read(lambda connection: set(connection.execute(wanted).scalars()))

    async def position(self, prediction: Prediction) -> int | None:
        """As `Predictions.position`; None too for one with more than 10,000 before it."""
        i = intents.c
        own = sa.select(i.priority).where(i.sequence == prediction.sequence, i.holder.is_(None))

        def count(connection: sa.Connection) -> int | None:
            priority = connection.execute(own).scalar()
            if priority is None:
                return None
            earlier = (
                sa.select(i.sequence)
                .where(i.model == prediction.model, i.holder.is_(None))
                .where(sa.tuple_(i.priority, i.sequence) < sa.tuple_(sa.literal(priority), sa.literal(prediction.sequence)))
                .limit(MOST_POSITION + 1)
                .subquery()
            )
            found: int = connection.execute(sa.select(sa.func.count()).select_from(earlier)).scalar_one()
            return found if found <= MOST_POSITION else None

        return await self._engine.read(count)

    async def find(self, wanted: Filter, limit: int, cursor: str | None) -> Page:
        """As `Predictions.find`."""
        before = sequence_before(cursor)
        query = sa.select(*PREDICTION).order_by(p.sequence.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(p.sequence < before)
        for column, value in ((p.owner, wanted.owner), (p.model, wanted.model), (p.state, wanted.state)):
            if value is not None:
                if not storable(value):
                    return Page([], None)
                query = query.where(column == str(value))
        if wanted.after_s is not None:
            query = query.where(p.created_s >= wanted.after_s)
        if wanted.before_s is not None:
            query = query.where(p.created_s < wanted.before_s)
        found = await self._engine.read(lambda connection: [prediction_of(row) for row in connection.execute(query)])
        page = found[:limit]
        return Page(page, cursor_after(page[-1].sequence) if len(found) > limit else None)
