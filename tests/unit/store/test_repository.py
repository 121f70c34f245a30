"""feature_store.yaml as Feast users write it, and the URL of the online store that it means."""

import pytest

from penstock.errors import InvalidInput
from penstock_cli.features.repository import open_repository


def url(folder, online_store):
    (folder / "feature_store.yaml").write_text(f"project: shop\n{online_store}")
    repository = open_repository(folder)
    assert repository.project == "shop"
    return repository.online_url


def test_sqlite(tmp_path):
    assert url(tmp_path, "") == f"sqlite:///{tmp_path}/data/online.db"
    assert url(tmp_path, "online_store: sqlite\n") == f"sqlite:///{tmp_path}/data/online.db"
    assert url(tmp_path, "online_store: {type: sqlite, path: ../a.db}\n") == f"sqlite:///{tmp_path.parent}/a.db"
    assert url(tmp_path, "online_store: {path: /b.db}\n") == "sqlite:////b.db"


def test_redis(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "p@ss")
    assert url(tmp_path, "online_store: {type: redis}\n") == "redis://localhost:6379"
    text = 'online_store: {type: redis, connection_string: "cache:6380,db=2,password=${SECRET},ssl=true", key_ttl_seconds: 60}\n'
    assert url(tmp_path, text) == "rediss://:p%40ss@cache:6380?db=2&key_ttl_seconds=60"
    assert url(tmp_path, "online_store: {type: redis, redis_type: redis_cluster}\n").startswith("feast:")


def test_postgres(tmp_path):
    text = "online_store: {type: postgres, host: db, database: features, user: me, password: a/b, db_schema: online}\n"
    assert url(tmp_path, text) == "postgresql://me:a%2Fb@db:5432/features?search_path=online&sslmode=require"
    with pytest.raises(InvalidInput, match="password"):
        url(tmp_path, "online_store: {type: postgres, host: db, database: features, user: me}\n")


def test_any_other_store_is_feasts(tmp_path):
    assert url(tmp_path, "online_store: {type: dynamodb, region: x}\n") == f"feast:{tmp_path}/feature_store.yaml"


@pytest.mark.parametrize("text", ["", "- a", "project: [", "project: 1", "project: shop\nonline_store: null\n"])
def test_what_is_no_repository_is_refused(tmp_path, text):
    with pytest.raises(InvalidInput):
        open_repository(tmp_path)
    (tmp_path / "feature_store.yaml").write_text(text)
    with pytest.raises(InvalidInput):
        open_repository(tmp_path)
