"""Where a Redis is, out of its URL: redis://[user[:password]@]host[:port][/database][?option=value…], rediss:// for TLS."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from penstock.errors import InvalidInput

_PORT = 6379
_OPTIONS = ("db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "key_ttl_seconds")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A parsed URL. `key_ttl_s`: what a write sets as the key's time to live (Feast's `key_ttl_seconds`), 0 for none."""

    host: str
    port: int = _PORT
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    key_ttl_s: int = 0

    @property
    def label(self) -> str:
        """Host, port and database: what messages and logs may show."""
        return f"redis at {self.host}:{self.port}/{self.database}"


def redis_address(url: str) -> RedisAddress:
    """The address in a URL. Raises InvalidInput saying which part is wrong (never showing the password)."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise InvalidInput("expected redis://[user:password@]host[:port][/database]", field="feature_store")
    options = dict(parse_qsl(parts.query))
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise InvalidInput(f"unknown option {unknown[0]!r}; known are {', '.join(_OPTIONS)}", field="feature_store")
    try:
        return RedisAddress(
            host=parts.hostname,
            port=parts.port or _PORT,
            database=int(options.get("db") or parts.path.strip("/") or 0),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=_tls(options) if parts.scheme == "rediss" else None,
            key_ttl_s=int(options.get("key_ttl_seconds", 0)),
        )
    except ValueError:  # its text would repeat what stands where the port should, which may be half a password
        raise InvalidInput(
            "expected a number as port, as database and as time to live; does the password need percent-encoding?",
            field="feature_store",
        ) from None


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if options.get("ssl_certfile"):
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except OSError as error:
        raise InvalidInput(f"a TLS certificate cannot be read: {error}", field="feature_store") from None
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
