"""Where the database is: `sqlite:///relative`, `sqlite:////absolute`, or `postgresql://[user:password@]host[:port]/database`.

Spelled as `--feature_store` spells it. The label is what messages and logs say in its place: never a password.
"""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from penstock.errors import InvalidInput
from penstock.settings import hide_password

_FORMS = "sqlite:///path or postgresql://[user:password@]host[:port]/database"


@dataclass(frozen=True)
class Address:
    """Exactly one of `path` (SQLite) and `url` (PostgreSQL, as asyncpg reads it) is given."""

    label: str
    path: Path | None = None
    url: str | None = field(default=None, repr=False)


def read_address(text: str) -> Address:
    """Raises InvalidInput for what is no address of a database that is known here."""
    scheme, separator, rest = text.partition("://")
    # SQLAlchemy's way to name a driver; here there is one for each.
    scheme = scheme.partition("+")[0]
    if separator and scheme == "sqlite":
        if not rest.startswith("/") or len(rest) == 1:
            raise InvalidInput("expected sqlite:///path/to/file (four slashes for an absolute path)", field="database")
        # Callers read the label in a 503: which folders there are is not for them.
        return Address(f"SQLite, {Path(rest[1:]).name}", path=Path(rest[1:]))
    if separator and scheme in ("postgresql", "postgres"):
        parts = urlsplit(f"{scheme}://{rest}")
        try:
            port = parts.port or 5432
        except ValueError:
            raise InvalidInput("expected a port; does the password need percent-encoding?", field="database") from None
        if not parts.hostname and "host=" not in parts.query:
            raise InvalidInput(f"expected {_FORMS}", field="database")
        return Address(f"PostgreSQL at {parts.hostname or 'socket'}:{port}{parts.path}", url=f"{scheme}://{rest}")
    raise InvalidInput(f"expected {_FORMS}, got {hide_password(text)!r}", field="database")
