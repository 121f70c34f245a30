"""A Feast repository per kind of online store, real servers behind them, and Feast itself in another process."""

import csv
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from penstock.features.spec import StoreLayout
from penstock.testing.servers import PostgresServer, RedisServer, ServerMissing

HERE = Path(__file__).parent
VIEWS = ["every_type", "by_string", "by_int64", "by_int32", "by_bytes", "by_time", "by_two"]


class Feast:
    """Calls functions of feast_side.py in its process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "feast_side.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )

    def call(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((name, arguments), self._process.stdin)
        self._process.stdin.flush()
        good, result = pickle.load(self._process.stdout)
        if not good:
            raise RuntimeError(result)
        return result

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass(frozen=True)
class Online:
    """One kind of online store, filled by whom it likes: Feast through `repo`, we through `url` and `layout`."""

    kind: str
    repo: str
    url: str
    layout: StoreLayout
    feast: Feast

    def feast_write(self, view: str, rows: list[tuple[dict[str, Any], dict[str, Any], float]]) -> None:
        self.feast.call("write", self.repo, view, rows)

    def feast_read(self, view: str, keys: list[dict[str, Any]], features: list[str]) -> tuple[dict[str, list[Any]], list[float]]:
        values, times = self.feast.call("read", self.repo, view, keys, features)
        return values, times


@pytest.fixture(scope="session")
def feast() -> Iterator[Feast]:
    found = Feast()
    yield found
    found.close()


def started(make: Callable[[], Any]) -> Any:
    try:
        return make().start()
    except ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = started(lambda: RedisServer(password="pass word"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = started(PostgresServer)
    yield server
    server.close()


def repository(folder: Path, online_store: str, serialization: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "definitions.py", folder)
    (folder / "feature_store.yaml").write_text(
        f"project: shop\nprovider: local\nregistry: registry.db\noffline_store: {{type: file}}\n"
        f"entity_key_serialization_version: {serialization}\nonline_store:\n{online_store}"
    )
    return folder


@pytest.fixture(scope="session", params=["sqlite", "redis", "postgres"])
def online(request: pytest.FixtureRequest, feast: Feast, tmp_path_factory: pytest.TempPathFactory) -> Online:
    kind = request.param
    folder = tmp_path_factory.mktemp(kind) / "repo"
    if kind == "sqlite":
        url, lines = f"sqlite:///{folder}/online.db", "  type: sqlite\n  path: online.db\n"
    elif kind == "redis":
        server = request.getfixturevalue("redis_server")
        url = server.url()
        lines = f'  type: redis\n  connection_string: "{server.host}:{server.port},password=pass word"\n'
    else:
        url = request.getfixturevalue("postgres_server").url()
        parts = urlsplit(url)
        lines = (
            f"  type: postgres\n  host: {parts.hostname}\n  port: {parts.port}\n  database: penstock\n  user: penstock\n"
            f'  password: "{PostgresServer.password}"\n  sslmode: disable\n'
        )
    repository(folder, lines)
    feast.call("apply", str(folder))
    return Online(kind, str(folder), url, feast.call("stamp", str(folder), VIEWS), feast)


class Shop:
    """A repository and commands run in it."""

    def __init__(self, folder: Path, feast: Any) -> None:
        self.folder = folder
        self._feast = feast

    def run(self, *arguments: Any) -> str:
        code, output = self._feast.call("run", str(self.folder), *map(str, arguments))
        assert code == 0, output
        return str(output)

    def fails(self, *arguments: Any) -> str:
        code, output = self._feast.call("run", str(self.folder), *map(str, arguments))
        assert code != 0
        assert "Traceback" not in output
        return str(output)

    def load_some(self, *arguments: Any) -> tuple[dict[str, Any], str]:
        """A load with rejected rows: it fails, after it has said what it did."""
        output = self.fails("load", *arguments, "--json")
        line = next(line for line in output.splitlines() if line.startswith("{"))
        return json.loads(line), output

    def load(self, *arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("load", *arguments, "--json").splitlines()[-1])
        return found

    def feast_read(self, view: str, keys: list[dict[str, Any]], features: list[str]) -> dict[str, list[Any]]:
        values: dict[str, list[Any]] = self._feast.call("read", str(self.folder), view, keys, features)[0]
        return values

    def stamp(self, text: str) -> Any:
        return self._feast.call("stamp_spec", str(self.folder), text)

    @staticmethod
    def write_csv(path: Path, rows: list[list[Any]]) -> Path:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        return path


@pytest.fixture
def shop(tmp_path: Path, feast: Any) -> Shop:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "definitions.py").write_text((HERE / "definitions.py").read_text())
    (folder / "feature_store.yaml").write_text(
        "project: shop\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store: {type: file}\nonline_store: {type: sqlite, path: online.db}\n"
    )
    found = Shop(folder, feast)
    assert "by_int64" in found.run("apply")
    return found
