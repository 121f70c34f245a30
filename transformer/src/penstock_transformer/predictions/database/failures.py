"""What the errors of SQLAlchemy, asyncpg and SQLite mean: the database's state, or a fault of a statement and so of ours."""

import sqlite3

import asyncpg
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from penstock.settings import hide_password

# asyncpg calls it a fault of its own (InternalClientError) when it is used between the server's last words and its end.
_LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError)
DATABASE_ERRORS = (DBAPIError, InvalidRequestError, sqlite3.Error, asyncpg.PostgresError, *_LOST, OSError)

# SQLSTATEs that tell of the database's state and are no fault of a statement: connection, resources, intervention, system.
_STATES = ("08", "25006", "25P03", "40", "53", "55P03", "57", "58", "28", "3D000", "42501")
# What SQLite says of the file, the disk, or other processes.
_FILE_TROUBLES = (
    "disk is full",
    "disk I/O error",
    "is locked",
    "unable to open",
    "readonly",
    "malformed",
    "not a database",
    "no active connection",
    "interrupted",
)


def reason_of(error: BaseException) -> str | None:
    """What to say of a database that raised this; None where the error is a fault of the statement."""
    origin = getattr(error, "orig", None) or error
    text = hide_password(str(origin).strip() or type(origin).__name__)
    state = getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)
    if state is not None:
        return f"answered: {text}" if str(state).startswith(_STATES) else None
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return f"ended the connection: {text}"
    if isinstance(origin, sqlite3.Error):
        return f"answered: {text}" if any(part in text for part in _FILE_TROUBLES) else None
    if isinstance(origin, OSError):
        return f"cannot be reached: {text}"
    lost = isinstance(origin, _LOST) or "connection" in text.lower()
    return f"ended the connection: {text}" if lost else None
