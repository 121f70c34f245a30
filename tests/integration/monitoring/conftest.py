"""The whole system (`whole.system`) under traffic of every kind (`whole.traffic`), and a real Prometheus that scrapes it: started
once for the area, and ended with it.
"""

import signal
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from whole.system import CHART, System
from whole.traffic import Traffic

from penstock.testing.folder_stack import FolderStack
from penstock.testing.kafka import KafkaServer
from penstock.testing.prometheus import PrometheusServer
from penstock.testing.servers import PostgresServer, ServerMissing
from penstock.testing.waiting import until

RULES = CHART / "files/alerts.yaml"

_HERE = FolderStack(__file__)
pytest_runtest_teardown, pytest_sessionfinish = _HERE.hooks()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaServer, postgres: PostgresServer) -> System:
    try:
        return System(tmp_path_factory.mktemp("system"), _HERE, kafka, postgres.own_schema())
    except ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def prometheus(system: System) -> PrometheusServer:
    """It has scraped everything for a while, under traffic, which goes on until the folder's last test."""
    try:
        server = _HERE.enter_context(PrometheusServer(system.targets(), rules=[RULES]))
    except ServerMissing as missing:
        pytest.skip(str(missing))
    traffic = _HERE.enter_context(Traffic(system))
    until(lambda: len(server.query("up == 1")) == len(system.servers) + 1, 30, "a scrape of every program")
    until(lambda: server.query("penstock_operator_leader == 1"), 30, "an operator that leads")
    system.servers["predictor"].signal(signal.SIGSTOP)
    away = "penstock_transformer_call_errors_total > 0"
    until(lambda: server.query(away) or traffic.failure, 30, "failed calls of the predictor")
    system.servers["predictor"].signal(signal.SIGCONT)
    system.redis.pause()
    errors = "penstock_transformer_store_errors_total > 0"
    until(lambda: server.query(errors) or traffic.failure, 30, "errors of the feature store")
    system.redis.resume()
    until(lambda: traffic.rounds > 8 or traffic.failure, 60, "traffic of every kind")
    assert traffic.failure is None
    return server
