"""What holds a process's readiness is said by every port and way alike, with one worker and with several."""

from collections.abc import Iterator

import httpx
import pytest

from penstock.cpus import cpu_limit
from penstock.testing.grpc_client import GrpcCaller
from penstock.testing.server import ServerProcess

WHY = {"ready": False, "reasons": {"echo": "asked to be"}}


@pytest.fixture(params=[1, 2])
def unready(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    if request.param > cpu_limit():
        pytest.skip("needs two CPUs: with one, workers are capped at one")
    options = ("--workers", str(request.param), "--unready", "asked to be", "--drain_delay_s", "0")
    with ServerProcess("penstock.testing.echo_server", *options, grpc=True) as server:
        yield server


def test_a_check_holds_readiness_on_every_port(unready: ServerProcess) -> None:
    web, admin = unready.url, unready.admin_url
    assert httpx.get(f"{web}/readyz").json() == WHY
    assert httpx.get(f"{admin}/readyz").json() == WHY
    for url in (f"{web}/readyz", f"{admin}/readyz", f"{web}/v2/health/ready"):
        assert httpx.get(url).status_code == 503, url
    for url in (f"{web}/healthz", f"{admin}/healthz", f"{web}/v2/health/live"):
        assert httpx.get(url).status_code == 200, url
    assert httpx.get(f"{admin}/status").json()["reasons"] == WHY["reasons"]
    assert 'penstock_unready{check="echo"} 1.0' in httpx.get(f"{admin}/metrics").text
    with GrpcCaller(unready.grpc_address) as caller:
        assert caller.call("ServerLive")[0].live
        assert not caller.call("ServerReady")[0].ready
        check = caller.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=10) == b"\x08\x02"
