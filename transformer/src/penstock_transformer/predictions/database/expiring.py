"""Removal of what is over: ended predictions past their time, with inputs and results. Webhooks that are still due outlive them.

Bounded in rows, so that removal never holds the database for long; several processes may remove at once and take different rows.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock_transformer.predictions.database.engine import Engine
from penstock_transformer.predictions.database.rows import among
from penstock_transformer.predictions.database.tables import intents, predictions
from penstock_transformer.predictions.port import Expired

p = predictions.c


async def expire(engine: Engine, now_s: float, limit: int) -> Expired:
    """As `Predictions.expire`."""
    over = (
        sa.select(p.sequence, p.input_reference, p.result_reference)
        .where(p.expires_s <= now_s)
        .order_by(p.expires_s)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )

    def remove(connection: sa.Connection) -> Sequence[Any]:
        rows = connection.execute(over).all()
        if rows:
            sequences = [row.sequence for row in rows]
            connection.execute(sa.delete(intents).where(among(intents.c.sequence, sequences, sqlite=engine.is_sqlite)))
            connection.execute(sa.delete(predictions).where(among(p.sequence, sequences, sqlite=engine.is_sqlite)))
        return rows

    rows = await engine.write(remove)
    references = [reference for row in rows for reference in (row.input_reference, row.result_reference) if reference is not None]
    return Expired(len(rows), references)
