"""The transaction of a group of submits: predictions and their intents, and what was in the way of those that are not new.

PostgreSQL takes a group in one statement (`postgres_statements`), SQLite as many rows of VALUES.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from penstock_transformer.predictions.changes import Changes
from penstock_transformer.predictions.database.engine import Engine
from penstock_transformer.predictions.database.postgres_statements import SUBMIT, submit_statement
from penstock_transformer.predictions.database.rows import PREDICTION, among, headers_as_kept, prediction_of, submitted
from penstock_transformer.predictions.database.submitting import Answer
from penstock_transformer.predictions.database.tables import intents, predictions
from penstock_transformer.predictions.port import repeated
from penstock_transformer.predictions.resource import NewPrediction, State, priority_of

_SUBMIT = submit_statement()


class Writing:
    """Writes groups of submits."""

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine = engine
        self._changes = changes

    async def write(self, group: Sequence[NewPrediction]) -> list[Answer | Exception | None]:
        """For each in its order: what it is now and whether it is new, what refuses it, or None if it is to be tried again."""
        first: dict[str, int] = {}
        for at, new in enumerate(group):
            first.setdefault(new.id, at)
        write = self._write_sqlite if self._engine.is_sqlite else self._write_postgres
        sequences = await write([group[at] for at in first.values()])
        answers: list[Answer | Exception | None] = [None] * len(group)
        others: list[int] = []
        for at, new in enumerate(group):
            sequence = sequences.get(new.id)
            if sequence is not None and first[new.id] == at:
                answers[at] = submitted(new, sequence), True
            else:
                others.append(at)
        if others:
            await self._resolve(group, others, answers)
        return answers

    async def _write_postgres(self, group: list[NewPrediction]) -> dict[str, int]:
        columns = [list(column) for column in zip(*map(_values, group), strict=True)]
        found = await self._engine.fetch(_SUBMIT, *columns)
        return {row[0]: row[1] for row in found if row[1] is not None}

    async def _write_sqlite(self, group: list[NewPrediction]) -> dict[str, int]:
        insert = sqlite.insert(predictions).on_conflict_do_nothing().returning(predictions.c.id, predictions.c.sequence)
        rows = [dict(zip(SUBMIT, _values(new), strict=True)) for new in group]

        def work(connection: sa.Connection) -> dict[str, int]:
            found: dict[str, int] = {row[0]: row[1] for row in connection.execute(insert, rows)}
            written = [
                {
                    "sequence": found[row["id"]],
                    "prediction_id": row["id"],
                    "model": row["model"],
                    "record_key": row["record_key"],
                    "nbytes": row["input_nbytes"],
                    "priority": row["priority"],
                    "created_s": row["created_s"],
                }
                for row in rows
                if row["id"] in found
            ]
            if written:
                connection.execute(sa.insert(intents), written)
            return found

        def committed(sequences: dict[str, int]) -> None:
            for model in {new.model for new in group if new.id in sequences}:
                self._changes.arrived(model)

        return await self._engine.write(work, committed)

    async def _resolve(self, group: Sequence[NewPrediction], others: list[int], answers: list[Answer | Exception | None]) -> None:
        """Those that were not new: by their ids, else by their keys."""
        ids = [group[at].id for at in others]
        keys = [group[at].idempotency_key for at in others if group[at].idempotency_key is not None]
        wanted = (*PREDICTION, predictions.c.digest)
        on_sqlite = self._engine.is_sqlite
        by_id: dict[str, Any] = {}
        by_key: dict[tuple[str, str], Any] = {}
        same_id = sa.select(*wanted).where(among(predictions.c.id, ids, sqlite=on_sqlite))
        owners = sorted({group[at].owner for at in others})
        same_key = sa.select(*wanted).where(
            among(predictions.c.owner, owners, sqlite=on_sqlite), among(predictions.c.idempotency_key, keys, sqlite=on_sqlite)
        )

        def look(connection: sa.Connection) -> None:
            by_id.update({found.id: found for found in connection.execute(same_id)})
            if keys:
                by_key.update({(found.owner, found.idempotency_key): found for found in connection.execute(same_key)})

        await self._engine.read(look)
        for at in others:
            new = group[at]
            row: Any = by_id.get(new.id)
            if row is None and new.idempotency_key is not None:
                row = by_key.get((new.owner, new.idempotency_key))
            if row is not None:
                try:
                    answers[at] = repeated(new, prediction_of(row), row.digest), False
                except Exception as error:
                    answers[at] = error


def _values(new: NewPrediction) -> tuple[Any, ...]:
    payload = new.payload
    return (
        new.id,
        new.owner,
        new.model,
        State.STARTING.value,
        new.rows,
        priority_of(new.headers),
        new.created_s,
        new.keep_s,
        new.idempotency_key,
        new.digest,
        new.webhook,
        new.key,
        headers_as_kept(new.headers),
        payload.body,
        headers_as_kept(payload.headers),
        payload.nbytes,
        payload.reference,
    )
