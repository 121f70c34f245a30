"""One SQLite file that Feast wrote, and statements on it: blocking, without a loop, safe to call from one thread at a time.

    keys, names -> SqliteFile.read -> StoredRow …        rows -> .write -> which were newer

Feast keeps a table `<project>_<view>` of (entity_key, feature_name, value, value_text, event_ts, created_ts). `event_ts` is a
whole second, and of the writer's local reading of a UTC clock (Feast hands a naive UTC datetime to `timestamp()`); the same
conversion is undone on the way in, so that we say what Feast on the same machine says. Two writes within one second would look
alike to compare-and-set, so our writer adds a column `event_us` (microseconds) that Feast neither reads nor writes.
"""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.errors import UpstreamUnavailable
from penstock_transformer.store.rows import StoredRow, StoredWrite
from penstock_transformer.store.view import View

# Keys in one statement. Counts are padded to powers of two, so that a handful of prepared statements serve every batch.
_KEYS_A_STATEMENT = 512


def quoted(identifier: str) -> str:
    """An SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


class SqliteFile:
    """A connection to the file at `path`. `wait_s`: how long a statement waits for another process's write to end.

    Raises UpstreamUnavailable where the file is not there or is no database.
    """

    def __init__(self, path: Path, project: str, *, writable: bool, wait_s: float) -> None:
        self._project = project
        self._columns: dict[str, set[str]] = {}
        try:
            # Readers too: what a writer that was killed has left half done is undone by whoever opens the file next, and a reader
            # that may not would be refused until somebody writes. On a file that is not writable it means read-only.
            self._connection = sqlite3.connect(
                f"file:{_uri_path(path)}?mode=rw",
                uri=True,
                timeout=wait_s,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            if not writable:
                self._connection.execute("PRAGMA query_only = ON").close()
        except sqlite3.Error as error:
            raise UpstreamUnavailable(f"the feature store {path} cannot be opened: {error}") from None

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def interrupt(self) -> None:
        """End the statement that another thread is running."""
        self._connection.interrupt()

    def check(self) -> None:
        """Read something. Raises sqlite3.Error if this is no database."""
        with closing(self._connection.execute("SELECT count(*) FROM sqlite_master")) as cursor:
            cursor.fetchone()

    def read(self, view: View, keys: Sequence[bytes], names: tuple[str, ...]) -> list[StoredRow]:
        """All stored values of the keys: those of `names`, and possibly others of the view."""
        few = names and len(names) * 4 <= len(view.features)
        out: list[StoredRow] = []
        for start in range(0, len(keys), _KEYS_A_STATEMENT):
            chunk = list(keys[start : start + _KEYS_A_STATEMENT])
            slots = 1 << (len(chunk) - 1).bit_length()
            sql = (
                f"SELECT entity_key, feature_name, value, event_ts FROM {self._table(view)} "
                f"WHERE entity_key IN ({','.join('?' * slots)})"
            )
            parameters: list[Any] = [*chunk, *[None] * (slots - len(chunk))]
            if few:
                sql += f" AND feature_name IN ({','.join('?' * len(names))})"
                parameters += names
            with closing(self._connection.execute(sql, parameters)) as cursor:
                out += cursor.fetchall()
        return in_seconds(out) if out and (_ZONED or type(out[0][3]) is not int) else out

    def write(self, rows: Sequence[StoredWrite]) -> list[bool]:
        """Rows in one transaction; True for each of which a value was newer than the stored one."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            done = [self._write(row) for row in rows]
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return done

    def _write(self, row: StoredWrite) -> bool:
        before = self._connection.total_changes
        stamp = _stamp(row.event_time)
        # Never rounded up into the next second, which `event_ts` does not show.
        micros = stamp * 1_000_000 + min(round(row.event_time % 1 * 1_000_000), 999_999)
        has_number = "value_num" in self._prepared(row.view)
        values = [
            (row.key, name, data, text, *((number,) if has_number else ()), stamp, micros)
            for name, data, text, number in row.values
        ]
        self._connection.executemany(self._upsert(row.view, has_number), values)
        return self._connection.total_changes > before

    def _upsert(self, view: View, has_number: bool) -> str:
        columns = ["value", "value_text", *(["value_num"] if has_number else []), "event_ts", "event_us"]
        table = self._table(view)
        return (
            f"INSERT INTO {table} (entity_key, feature_name, {', '.join(columns)}) VALUES ({','.join('?' * (len(columns) + 2))}) "
            f"ON CONFLICT(entity_key, feature_name) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in columns)} "
            # The stored microseconds count only while they belong to the stored second: Feast's writes leave them behind.
            f"WHERE {table}.event_ts IS NULL OR excluded.event_ts > {table}.event_ts OR (excluded.event_ts = {table}.event_ts "
            f"AND {table}.event_us - {table}.event_ts * 1000000 BETWEEN 0 AND 999999 AND excluded.event_us > {table}.event_us)"
        )

    def _prepared(self, view: View) -> set[str]:
        """The columns of a view's table, after adding what our writer needs."""
        columns = self._columns.get(view.name)
        if columns is None:
            table = self._table(view)
            columns = {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}
            for name, kind in (("value_text", "TEXT"), ("event_us", "INTEGER")):
                if columns and name not in columns:
                    self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
            self._columns[view.name] = columns
        return columns

    def delete(self, view: View, keys: Sequence[bytes]) -> int:
        """Remove entities; the number that existed."""
        existed = 0
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for key in keys:
                cursor = self._connection.execute(f"DELETE FROM {self._table(view)} WHERE entity_key = ?", (key,))
                existed += cursor.rowcount > 0
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return existed

    def scan(self, view: View, after: bytes, limit: int) -> list[bytes]:
        """Up to `limit` keys in their byte order, behind `after`."""
        sql = f"SELECT DISTINCT entity_key FROM {self._table(view)} WHERE entity_key > ? ORDER BY entity_key LIMIT ?"
        with closing(self._connection.execute(sql, (after, limit))) as cursor:
            return [key for (key,) in cursor]

    def _table(self, view: View) -> str:
        return quoted(f"{self._project}_{view.name}")


def _uri_path(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


# Whether this machine's clock shows anything but UTC, so that Feast's conversions shift times.
_ZONED = time.timezone != 0 or time.daylight != 0


def _stamp(event_time: float) -> int:
    seconds = int(event_time // 1)
    if not _ZONED:
        return seconds
    return int(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).timestamp())


def in_seconds(rows: Sequence[StoredRow]) -> list[StoredRow]:
    """Rows as they were fetched, their event times in seconds since the epoch; 0 where there is none."""
    return [(key, name, value, _seconds(stamp)) for key, name, value, stamp in rows]


def _seconds(stamp: Any) -> float:
    if stamp is None:
        return 0.0
    if isinstance(stamp, float):
        return stamp
    if isinstance(stamp, str):
        moment = datetime.fromisoformat(stamp)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return datetime.fromtimestamp(int(stamp)).replace(tzinfo=UTC).timestamp()
