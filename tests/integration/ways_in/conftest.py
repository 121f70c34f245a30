"""The all-in-one server over two bundles, once for all tests of the ways in."""

from collections.abc import Iterator

import httpx
import pytest

from penstock.testing.flights import serve_flights
from penstock.testing.server import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve_flights(tmp_path_factory.mktemp("serve")) as server:
        yield server


@pytest.fixture(scope="session")
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client
