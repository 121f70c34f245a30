"""Brings a database to this release's schema: Alembic's migrations, at opening, under a lock.

    version table at HEAD -> nothing to do (and Alembic is not even imported)
    none, or an earlier one -> lock -> migrations -> HEAD, one transaction
    one that this release does not know -> refused: a newer release has been here

The lock is PostgreSQL's advisory lock, or SQLite's own for writing; of several processes that open an empty database one makes
the tables, and the others find them.
"""

from pathlib import Path

import sqlalchemy as sa

from penstock.errors import InvalidInput
from penstock_transformer.predictions.database.engine import Engine

HEAD = "0001"
VERSION_TABLE = "penstock_schema_version"
_LOCK = 0x70656E73746F636B  # "penstock"


async def migrate(engine: Engine) -> bool:
    """Bring the schema to HEAD; whether there was something to do.

    Raises InvalidInput for a database that a newer release made, UpstreamUnavailable.
    """

    def work(connection: sa.Connection) -> bool:
        if not engine.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        found = _version(connection)
        if found != HEAD:
            _upgrade(connection, found, engine.address.label)
        return found != HEAD

    return await engine.write(work)


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


def _upgrade(connection: sa.Connection, found: str | None, label: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise InvalidInput(
            f"{label} is at revision {found!r:.40}, which this release does not know (it knows up to {HEAD!r}): a newer release "
            "has been here; run that one or a newer one",
            field="database",
        )
    command.upgrade(config, HEAD)
