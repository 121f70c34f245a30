"""Endings: written once, with the intent gone and the caller's webhook due, in one transaction.

PostgreSQL takes ordinary endings in one statement (`postgres_statements`, which tells of locks too). Which ending a prediction
takes is `resource.changed_by`'s to say, whoever writes it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace

from penstock_transformer.predictions.changes import Changes
from penstock_transformer.predictions.database.engine import Engine
from penstock_transformer.predictions.database.postgres_statements import CHANGES, END, SEPARATOR, end_statement, notify_statement
from penstock_transformer.predictions.database.rows import (
    OPEN,
    PREDICTION,
    among,
    cleaned,
    headers_as_kept,
    prediction_of,
    storable,
)
from penstock_transformer.predictions.database.tables import intents, predictions
from penstock_transformer.predictions.database.webhooks import write_webhooks
from penstock_transformer.predictions.resource import Ending, State, changed_by

p = predictions.c
# Predictions that one statement takes.
_CHUNK = 1000
_END = end_statement()
_UPDATE = (
    sa.update(predictions)
    .where(p.sequence == sa.bindparam("at"))
    .values({name: sa.bindparam(f"new_{name}") for name in (*END[1:], "expires_s")})
)


class _Taken(NamedTuple):
    """An ending that a row takes; `first`: it had none before."""

    row: Any
    ending: Ending
    first: bool


class EndingWriter:
    """Writes endings to one database. `webhooks_written` is called when some were, where no notification tells of them."""

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine = engine
        self._changes = changes
        self.webhooks_written: Callable[[], None] | None = None

    async def end(self, endings: Sequence[Ending]) -> list[str]:
        """As `Predictions.end`."""
        by_id: dict[str, list[Ending]] = {}
        for ending in endings:
            if storable(ending.id):
                by_id.setdefault(ending.id, []).append(ending)
        if not by_id:
            return []
        if self._engine.is_sqlite or any(len(of) > 1 or of[0].replayed for of in by_id.values()):
            return await self._end_any(by_id)
        rows = await self._engine.fetch(_END, *zip(*(_row(of[0]) for of in by_id.values()), strict=True))
        ended = [row[0] for row in rows if row[1] is not None and row[1] > 0]
        left = {row[0]: by_id[row[0]] for row in rows if row[1] == -1}
        return ended + await self._end_any(left) if left else ended

    async def _end_any(self, by_id: dict[str, list[Ending]]) -> list[str]:
        """In one transaction of several statements: with webhooks, replays, and on any database."""
        taken, _ = await self._engine.write(lambda connection: self._write(connection, by_id), self._committed)
        return [one.ending.id for one in taken]

    def _committed(self, done: tuple[list[_Taken], int]) -> None:
        taken, webhooks = done
        for one in taken:
            self._changes.tell(one.ending.id, one.ending.state)
        if webhooks and self.webhooks_written is not None:
            self.webhooks_written()

    def _write(self, connection: sa.Connection, by_id: dict[str, list[Ending]]) -> tuple[list[_Taken], int]:
        ids = list(by_id)
        taken: list[_Taken] = []
        for start in range(0, len(ids), _CHUNK):
            taken += self._end(connection, {one: by_id[one] for one in ids[start : start + _CHUNK]})
        return taken, self._tell_in(connection, taken) if taken else 0

    def _end(self, connection: sa.Connection, endings: dict[str, list[Ending]]) -> list[_Taken]:
        on_sqlite = self._engine.is_sqlite
        open_states = [*OPEN, State.FAILED.value] if any(e.replayed for of in endings.values() for e in of) else list(OPEN)
        wanted = sa.select(*PREDICTION, p.keep_s).where(among(p.id, list(endings), sqlite=on_sqlite), p.state.in_(open_states))
        rows = connection.execute(wanted.order_by(p.sequence).with_for_update()).all()
        taken = [one for row in rows if (one := _taken(row, endings[row.id])) is not None]
        if taken:
            connection.execute(_UPDATE, [_values(one) for one in taken])
            gone = among(intents.c.sequence, [one.row.sequence for one in taken], sqlite=on_sqlite)
            if not on_sqlite:
                connection.execute(sa.select(intents.c.sequence).where(gone).order_by(intents.c.sequence).with_for_update())
            connection.execute(sa.delete(intents).where(gone))
        return taken

    def _tell_in(self, connection: sa.Connection, taken: Sequence[_Taken]) -> int:
        """Webhooks of those that ended for the first time, and (PostgreSQL) news for who waits; how many webhooks."""
        if not self._engine.is_sqlite:
            for one in taken:
                connection.execute(notify_statement(CHANGES, f"{one.ending.state}{SEPARATOR}{one.ending.id}"))
        told = [
            replace(
                prediction_of(one.row),
                state=one.ending.state,
                ended_s=one.ending.ended_s,
                expires_s=_expires_s(one),
                bundle=one.ending.bundle,
                kind=one.ending.kind,
                message=one.ending.message,
                field=one.ending.field,
                result=one.ending.payload,
            )
            for one in taken
            if one.first and one.row.webhook is not None
        ]
        return write_webhooks(self._engine, connection, told) if told else 0


def _taken(row: Any, endings: Sequence[Ending]) -> _Taken | None:
    """The last of the endings that the row takes, one after the other."""
    before = state = State(row.state)
    last = None
    for ending in endings:
        if changed_by(state, ending):
            state, last = ending.state, ending
    return None if last is None else _Taken(row, last, before.value in OPEN)


def _expires_s(one: _Taken) -> float | None:
    return None if one.row.keep_s is None else one.ending.ended_s + one.row.keep_s


def _row(ending: Ending) -> tuple[Any, ...]:
    """The values of `END`."""
    payload = ending.payload
    return (
        ending.id,
        ending.state.value,
        ending.ended_s,
        cleaned(ending.bundle),
        ending.kind,
        None if ending.message is None else cleaned(ending.message),
        None if ending.field is None else cleaned(ending.field),
        *(
            (None, None, None, None)
            if payload is None
            else (payload.body, headers_as_kept(payload.headers), payload.nbytes, payload.reference)
        ),
    )


def _values(one: _Taken) -> dict[str, Any]:
    values = {f"new_{name}": value for name, value in zip(END, _row(one.ending), strict=True) if name != "id"}
    return {"at": one.row.sequence, "new_expires_s": _expires_s(one), **values}
