"""Feast's PostgreSQL online store: one prepared statement per batch, whatever its views and keys.

    SetRead … -> one UNION ALL --asyncpg--> rows of all views -> pivot per view -> Reading.columns
    RowWrite … -> upserts that only go forward in event time --one transaction--> which were newer

Feast keeps a table `<project>_<view>` of (entity_key, feature_name, value, value_text, event_ts, created_ts), found by the search
path (Feast's `db_schema`: `?options=-csearch_path%3Dname` or `?search_path=name` in the URL).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from penstock.features.spec import StoreLayout
from penstock_transformer.store.port import RowWrite, SetColumns, SetRead
from penstock_transformer.store.postgres_pool import PostgresPool
from penstock_transformer.store.rows import StoredRow, StoredWrite, cursor_bytes, decoded, pivot, rounds, stored_write
from penstock_transformer.store.settings import DEFAULT, StoreSettings
from penstock_transformer.store.sqlite_file import quoted
from penstock_transformer.store.view import Reading, View, Views

# Statements remembered: one per combination of views that a batch reads.
_STATEMENTS = 64
Work = list[tuple[View, list[bytes], Reading]]


class PostgresStore:
    """The online store in a PostgreSQL database (a `FeatureStore`)."""

    def __init__(self, url: str, layout: StoreLayout, settings: StoreSettings = DEFAULT) -> None:
        self._views = Views(layout)
        self._pool = PostgresPool(url, settings)
        self._statements: dict[tuple[tuple[str, bool], ...], str] = {}
        self._with_number: dict[str, bool] = {}

    async def start(self) -> None:
        """Connect and log in. Raises UpstreamUnavailable."""
        await self._pool.run(lambda connection: connection.execute("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def read(self, reads: Sequence[SetRead]) -> list[SetColumns]:
        """One round trip. Raises UpstreamUnavailable, InvalidInput, Overloaded."""
        work: Work = []
        for read in reads:
            view = self._views[read.view]
            work.append((view, view.codec.encode(read.keys), view.reading(read.features)))
        asked = [(place, view, keys, reading) for place, (view, keys, reading) in enumerate(work) if keys]
        found: list[list[StoredRow]] = [[] for _ in work]
        if asked:
            sql = self._statement(tuple((view.name, bool(reading.names)) for _, view, _, reading in asked))
            arguments: list[Any] = []
            for _, _, keys, reading in asked:
                arguments += [keys, *([list(reading.names)] if reading.names else [])]
            for tag, key, name, value, seconds in await self._pool.run(lambda connection: connection.fetch(sql, *arguments)):
                found[asked[tag][0]].append((key, name, value, seconds))
        out = []
        for (_, keys, reading), rows in zip(work, found, strict=True):
            values, times = pivot(rows, keys, reading.names)
            out.append(reading.columns(values, times))
        return out

    def _statement(self, views: tuple[tuple[str, bool], ...]) -> str:
        found = self._statements.get(views)
        if found is None:
            parts, number = [], 0
            for tag, (name, narrowed) in enumerate(views):
                number += 1
                where = f"entity_key = ANY(${number}::bytea[])"
                if narrowed:
                    number += 1
                    where += f" AND feature_name = ANY(${number}::text[])"
                parts.append(
                    f"SELECT {tag}, entity_key, feature_name, value, coalesce(extract(epoch FROM event_ts), 0)::float8 "
                    f"FROM {self._table(self._views[name])} WHERE {where}"
                )
            if len(self._statements) >= _STATEMENTS:
                self._statements.clear()
            found = self._statements[views] = " UNION ALL ".join(parts)
        return found

    def _table(self, view: View) -> str:
        return quoted(f"{self._views.project}_{view.name}")

    async def write(self, rows: Sequence[RowWrite]) -> list[bool]:
        """One transaction; rows of one entity take effect in the order given."""
        writes = [stored_write(self._views[row.view], row) for row in rows]
        if not writes:
            return []
        return await self._pool.run(lambda connection: self._write(connection, writes))

    async def _write(self, connection: Any, writes: list[StoredWrite]) -> list[bool]:
        done = [False] * len(writes)
        async with connection.transaction():
            for places in rounds([(write.view.name, write.key) for write in writes]):
                by_view: dict[str, list[int]] = {}
                for place in places:
                    by_view.setdefault(writes[place].view.name, []).append(place)
                for name in sorted(by_view):
                    await self._upsert(connection, [(place, writes[place]) for place in by_view[name]], done)
        return done

    async def _upsert(self, connection: Any, writes: list[tuple[int, StoredWrite]], done: list[bool]) -> None:
        view = writes[0][1].view
        has_number = await self._has_number(connection, view)
        # In the order of keys, so that two writers of the same rows wait for each other instead of dead-locking.
        lines: list[tuple[Any, ...]] = sorted(
            (write.key, name, data, text, number, _moment(write.event_time))
            for _, write in writes
            for name, data, text, number in write.values
        )
        place_of = {write.key: place for place, write in writes}
        for (key,) in await connection.fetch(self._upsert_sql(view, has_number), *_columns(lines, has_number)):
            done[place_of[key]] = True

    def _upsert_sql(self, view: View, has_number: bool) -> str:
        columns = ["value", "value_text", "event_ts", *(["value_num"] if has_number else [])]
        table = self._table(view)
        return (
            f"INSERT INTO {table} AS held (entity_key, feature_name, {', '.join(columns)}) "
            "SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[]"
            f"{', $6::float8[]' if has_number else ''}) "
            f"ON CONFLICT (entity_key, feature_name) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in columns)} "
            "WHERE held.event_ts IS NULL OR excluded.event_ts > held.event_ts RETURNING entity_key"
        )

    async def _has_number(self, connection: Any, view: View) -> bool:
        """Whether the table has Feast's optional column for searching by number."""
        known = self._with_number.get(view.name)
        if known is None:
            sql = "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'value_num' AND NOT attisdropped"
            known = self._with_number[view.name] = bool(await connection.fetchval(sql, self._table(view)))
        return known

    async def delete(self, view: str, keys: Sequence[tuple[Any, ...]]) -> int:
        """Remove entities; the number that existed."""
        found = self._views[view]
        encoded = found.codec.encode(keys)
        sql = (
            f"WITH gone AS (DELETE FROM {self._table(found)} WHERE entity_key = ANY($1::bytea[]) RETURNING entity_key) "
            "SELECT count(DISTINCT entity_key) FROM gone"
        )
        count = await self._pool.run(lambda connection: connection.fetchval(sql, encoded))
        return int(count)

    async def scan(self, view: str, cursor: str | None, limit: int) -> tuple[list[tuple[Any, ...]], str | None]:
        """Keys in their byte order."""
        found, after = self._views[view], cursor_bytes(cursor)
        sql = f"SELECT DISTINCT entity_key FROM {self._table(found)} WHERE entity_key > $1 ORDER BY entity_key LIMIT $2"
        rows = await self._pool.run(lambda connection: connection.fetch(sql, after, limit))
        keys = [row[0] for row in rows]
        return decoded(found, keys), keys[-1].hex() if len(keys) == limit else None


def _columns(lines: list[tuple[Any, ...]], has_number: bool) -> list[list[Any]]:
    keys, names, values, texts, numbers, moments = (list(column) for column in zip(*lines, strict=True))
    return [keys, names, values, texts, moments, *([numbers] if has_number else [])]


def _moment(event_time: float) -> datetime:
    return datetime.fromtimestamp(event_time, UTC)
