"""What tests of feedback share: readers of a log's folder, and of a program's metrics."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

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
def sample() -> Callable[..., float]:
    """A sample of a program's /metrics by its name and labels, 0 without one."""

    def read(url: str, name: str, **labels: str) -> float:
        text = httpx.get(f"{url}/metrics", timeout=30).text
        found = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return next((one.value for one in found if one.name == name and labels.items() <= one.labels.items()), 0.0)

    return read
