"""What holds for every test. Property tests are not timed: on a machine that does other things too, time says nothing."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from penstock.testing.shared_servers import kafka, kubernetes, mended, own_schema, postgres

__all__ = ["kafka", "kubernetes", "mended", "own_schema", "postgres"]

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Programs that tests start by their command lines stay off gRPC's fixed port, on which they would meet; tests of it say so.
for member in ("PREDICTOR", "TRANSFORMER", "SERVE", "ECHO"):
    os.environ.setdefault(f"PENSTOCK_{member}_GRPC_PORT", "-1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several workers take tests by folders: the servers that those of one folder share are started once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.partition("::")[0].rpartition("/")[0]

    return ByFolder(config, log)
