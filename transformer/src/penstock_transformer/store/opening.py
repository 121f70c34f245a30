"""From `--feature_store URL` to a store: each kind is imported only when it is asked for.

sqlite:///relative or sqlite:////absolute, redis://, rediss://, postgresql://, feast:path/to/feature_store.yaml
"""

from pathlib import Path

from penstock.errors import InvalidInput
from penstock.features.spec import StoreLayout
from penstock.settings import hide_password
from penstock_transformer.store.port import FeatureStore
from penstock_transformer.store.settings import DEFAULT, StoreSettings

_FORMS = "sqlite:///path, redis://…, rediss://…, postgresql://… or feast:path/to/feature_store.yaml"


def open_store(url: str, layout: StoreLayout, settings: StoreSettings = DEFAULT) -> FeatureStore:
    """The store at `url`, not yet connected: `await store.start()`.

    Raises InvalidInput for a URL or layout that cannot be read here.
    """
    scheme, separator, rest = url.partition(":")
    scheme = scheme.partition("+")[0]
    if not separator:
        raise InvalidInput(f"expected {_FORMS}, got {hide_password(url)!r}", field="feature_store")
    if scheme == "sqlite":
        from penstock_transformer.store.sqlite import SqliteStore

        if not rest.startswith("///") or len(rest) == 3:
            raise InvalidInput("expected sqlite:///path/to/file (four slashes for an absolute path)", field="feature_store")
        return SqliteStore(Path(rest[3:]), layout, settings)
    if scheme in ("redis", "rediss"):
        from penstock_transformer.store.redis import RedisStore
        from penstock_transformer.store.redis_url import redis_address

        return RedisStore(redis_address(url), layout, settings)
    if scheme in ("postgresql", "postgres"):
        from penstock_transformer.store.postgres import PostgresStore

        return PostgresStore(url, layout, settings)
    if scheme == "feast":
        from penstock_transformer.store.feast_sdk import FeastStore

        return FeastStore(Path(rest), layout, settings)
    raise InvalidInput(f"unknown kind of store {scheme!r}; expected {_FORMS}", field="feature_store")
