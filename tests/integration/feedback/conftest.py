"""What tests of feedback share: readers of a log's folder, and of a program's metrics."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from penstock.testing.waiting import until
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.row import LogRow

WAIT_S = 60.0


@pytest.fixture(scope="session")
def logged() -> Callable[..., list[LogRow]]:
    """The rows of these requests in a log, once all of them are there; of all requests if none are named, once there is one."""

    def rows(root: Path, model: str, *ids: str) -> list[LogRow]:
        folder = LogFolder(root, model)

        def found() -> list[LogRow]:
            all_rows = list(folder.rows())
            return all_rows if set(ids) <= {row.id for row in all_rows} else []

        return [row for row in until(found, WAIT_S, "rows in the log") if not ids or row.id in ids]

    return rows


@pytest.fixture(scope="session")
def sample() -> Callable[[str, str], float]:
    """A sample of /metrics by its whole name with labels, 0 without one."""

    def read(url: str, name: str) -> float:
        lines = httpx.get(f"{url}/metrics", timeout=30).text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)

    return read
