"""The two kinds of object store, each a fresh prefix: a folder, and a bucket of a real S3-compatible server."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.s3 import S3Server
from penstock.testing.shared_servers import started
from penstock_transformer.predictions.objects import StoredObjects, open_objects

_numbers = itertools.count(1)


@dataclass
class Place:
    """Where a store's objects are: its address, and the folder that the files are in. `server` None for a folder."""

    address: str
    files: Path
    server: S3Server | None

    def using(
        self, case: Callable[[StoredObjects], Awaitable[Any]], *, most_bytes: int = 64 << 20, timeout_s: float = 20.0
    ) -> Any:
        """Run a case on a store that was opened and started."""

        async def run() -> Any:
            objects = open_objects(self.address, most_bytes=most_bytes, timeout_s=timeout_s)
            await objects.start()
            return await case(objects)

        return asyncio.run(run())

    def file(self, reference: str) -> Path:
        """The file of an object."""
        return self.files / reference.removeprefix(f"{self.address}/")


@pytest.fixture(scope="session")
def server() -> Iterator[S3Server]:
    with started(S3Server) as made:
        yield made


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    prefix = f"some/prefix{next(_numbers)}"
    return Place(server.url(prefix), server.files / prefix, server)


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    return Place(f"file://{tmp_path}/kept/objects", tmp_path / "kept" / "objects", None)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found
