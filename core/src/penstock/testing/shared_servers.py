"""The servers that tests share: one Kafka, one PostgreSQL and one Kubernetes API for the whole test process, each started for the
first test that asks.

    from penstock.testing.shared_servers import kafka, kubernetes, …    # in the conftest.py at the tests' root

A test takes topics, groups, a schema and a namespace of its own: names that no other area uses. It may kill, stop or pause a
server.

Invariant: what a test has left dead or silent is up again before the next test.

For one conftest alone: a fixture that two of them import is two fixtures, with a server each.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import pytest

from penstock.testing.definitions import INFERENCE_SERVICES, chart_definition
from penstock.testing.kafka import KafkaServer
from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.servers import PostgresServer, Server, ServerMissing

S = TypeVar("S", bound=Server)
Thing = TypeVar("Thing", bound=AbstractContextManager[Any])

MODEL_VERSIONS = "charts/penstock/templates/modelversion-crd.yaml"
_running: list[Server] = []


@contextmanager
def started(make: Callable[[], Thing]) -> Iterator[Thing]:
    """A server, or what else a test stands on, that is there until it is left; the test is skipped, with how to get it, where it
    is not installed."""
    try:
        made = make()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with made:
        yield made


@contextmanager
def _shared(make: Callable[[], S]) -> Iterator[S]:
    with started(make) as server:
        _running.append(server)
        yield server
        _running.remove(server)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """The Kafka of this process."""
    with _shared(KafkaServer) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL of this process."""
    with _shared(PostgresServer) as server:
        yield server


@pytest.fixture
def own_schema(postgres: PostgresServer) -> str:
    """The URL of a new schema in it."""
    return postgres.own_schema()


@pytest.fixture(scope="session")
def kubernetes(pytestconfig: pytest.Config) -> Iterator[KubernetesServer]:
    """The API server of this process: it has ModelVersions as the chart defines them, and InferenceServices of any content."""
    with _shared(KubernetesServer) as server:
        server.define(chart_definition(pytestconfig.rootpath / MODEL_VERSIONS), INFERENCE_SERVICES)
        yield server


@pytest.fixture(autouse=True)
def mended() -> Iterator[None]:
    """Shared servers are up again behind whoever hurt them."""
    yield
    for server in _running:
        server.mend()
