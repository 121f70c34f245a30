"""A Feast repository as its feature_store.yaml describes it, read without Feast: the project, and where its online store is.

feature_store.yaml -> open_repository -> Repository.online_url (sqlite:///…, redis://…, postgresql://…, feast:…)
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from penstock.errors import InvalidInput
from penstock_cli.text_file import read_text

FILE = "feature_store.yaml"
_POSTGRES_PORT = 5432
_SSL_NAMES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "db")


@dataclass(frozen=True, slots=True)
class Repository:
    """`path` is the folder; `online_url` what `--feature_store` takes."""

    path: Path
    project: str
    online_url: str


def open_repository(folder: Path) -> Repository:
    """The repository in `folder`. Raises InvalidInput if there is none, or it is not what Feast would read."""
    folder = folder.resolve()
    file = folder / FILE
    if not folder.is_dir():
        raise InvalidInput("there is no such folder; name a Feast repository with --repo", field=str(folder))
    if not file.is_file():
        raise InvalidInput(f"no {FILE} here; name a Feast repository with --repo", field=str(folder))
    try:
        # Environment variables in the file are Feast's way to keep passwords out of it.
        fields = yaml.safe_load(os.path.expandvars(read_text(file)))
    except yaml.YAMLError as error:
        raise InvalidInput(f"not YAML: {error}", field=str(file)) from None
    if not isinstance(fields, dict) or not isinstance(fields.get("project"), str):
        raise InvalidInput("expected a `project`", field=str(file))
    return Repository(folder, fields["project"], _online_url(folder, fields.get("online_store", "sqlite")))


def _online_url(folder: Path, store: Any) -> str:
    if isinstance(store, str):
        store = {"type": store}
    if not isinstance(store, dict):
        raise InvalidInput("this repository has no online store", field="online_store")
    kind = str(store.get("type", "sqlite"))
    if kind == "sqlite" or kind.endswith(".SqliteOnlineStore"):
        return f"sqlite:///{(folder / str(store.get('path', 'data/online.db'))).resolve()}"
    if kind == "redis" and store.get("redis_type", "redis") == "redis":
        return _redis_url(store)
    if kind == "postgres":
        return _postgres_url(store)
    return f"feast:{folder / FILE}"


def _redis_url(store: dict[str, Any]) -> str:
    # Feast's form: host:port,db=0,password=…,ssl=true
    first, *rest = str(store.get("connection_string", "localhost:6379")).split(",")
    options = dict(part.split("=", 1) for part in rest if "=" in part)
    login = ""
    if "password" in options:
        login = f"{quote(options.get('username', ''), safe='')}:{quote(options['password'].strip(chr(34)), safe='')}@"
    query = {name: options[name] for name in _SSL_NAMES if name in options}
    if store.get("key_ttl_seconds"):
        query["key_ttl_seconds"] = str(store["key_ttl_seconds"])
    scheme = "rediss" if options.get("ssl", "").lower() == "true" else "redis"
    return f"{scheme}://{login}{first}" + (f"?{urlencode(query)}" if query else "")


def _postgres_url(store: dict[str, Any]) -> str:
    try:
        user, password, host, database = (str(store[name]) for name in ("user", "password", "host", "database"))
    except KeyError as error:
        raise InvalidInput("is missing", field=f"online_store.{error.args[0]}") from None
    query = {"search_path": str(store.get("db_schema", "public")), "sslmode": str(store.get("sslmode", "require") or "prefer")}
    for ours, name in (("sslrootcert", "sslrootcert_path"), ("sslcert", "sslcert_path"), ("sslkey", "sslkey_path")):
        if store.get(name):
            query[ours] = str(store[name])
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"postgresql://{login}@{host}:{store.get('port', _POSTGRES_PORT)}/{quote(database, safe='')}?{urlencode(query)}"
