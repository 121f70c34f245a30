"""One echo server for the tests that do not stop or starve it."""

from collections.abc import Iterator

import pytest

from penstock.testing.server import ServerProcess

BODY_BYTES = 200_000


@pytest.fixture(scope="session")
def echo() -> Iterator[ServerProcess]:
    arguments = ("--body_bytes", str(BODY_BYTES), "--head_timeout_s", "1", "--stall_timeout_s", "2", "--drain_delay_s", "0")
    with ServerProcess("penstock.testing.echo_server", *arguments) as server:
        yield server
