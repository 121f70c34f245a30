"""The operator asks transformers without a credential and without TLS: docs/security.md, "With ModelVersions"."""

import asyncio
from typing import Any

import pytest

from penstock.testing.server import ServerProcess
from penstock_operator.pods import PodAsker

POD = {"metadata": {"uid": "u", "name": "flights-transformer-0"}, "status": {"podIP": "127.0.0.1"}}
STARTED_S = 60.0


async def heard(admin_port: int) -> tuple[bool, bool]:
    """Whether it hears which route a pod applies, and its evidence."""
    asker = PodAsker(admin_port=admin_port, timeout_s=10.0)
    try:
        told = await asker.routes_and_evidence([POD])
        return "u" in await asker.routes([POD]), all(told)
    finally:
        await asker.close()


@pytest.mark.parametrize("secured", ["keys", "tls"])
@pytest.mark.parametrize("guarded", ["true", "false"])
def test_what_it_hears_of_a_transformer(secured: str, guarded: str, keys: Any, trust: Any) -> None:
    options = {
        "keys": ("--api_keys", str(keys.path)),
        "tls": ("--tls_cert", str(trust.server.cert), "--tls_key", str(trust.server.key)),
    }[secured]
    # No predictor: a transformer is asked from its start.
    nowhere = ("--model_name", "flights", "--predictor_host", "127.0.0.1:9", "--drain_delay_s", "0")
    server = ServerProcess("penstock_transformer", *nowhere, *options, "--admin_guard", guarded).start()
    try:
        port = server.wait_event("listening", STARTED_S)["admin_port"]
        expected = secured == "keys" and guarded == "false"
        assert asyncio.run(heard(port)) == (expected, expected)
    finally:
        server.stop()
