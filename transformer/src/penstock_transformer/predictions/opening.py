"""From `--database` to the store of predictions; only a process that keeps some imports what a database needs.

memory:// --> MemoryPredictions        sqlite:///…, postgresql://… --> database.opening
"""

import importlib
from pathlib import Path
from typing import Protocol

from penstock_transformer.predictions.port import Claims, Predictions
from penstock_transformer.predictions.settings import MEMORY


class Store(Predictions, Claims, Protocol):
    """Predictions, and the table of them as a queue."""

    async def start(self) -> None:
        """Raises UpstreamUnavailable where the database cannot be reached."""

    async def close(self) -> None: ...


def path_of(url: str) -> Path | None:
    """The file of an SQLite database, None for any other."""
    scheme, _, rest = url.partition(":///")
    return Path(rest) if scheme.partition("+")[0] == "sqlite" and rest else None


def import_client(url: str) -> None:
    """Import what this URL needs; in a thread, before `open_store`."""
    if url != MEMORY:
        importlib.import_module("penstock_transformer.predictions.database.opening")
        importlib.import_module("penstock_transformer.predictions.objects")


def open_store(url: str) -> Store:
    """The store at a URL, not yet connected. Raises InvalidInput for a URL of no kind that is known."""
    if url == MEMORY:
        from penstock_transformer.predictions.memory import MemoryPredictions

        return MemoryPredictions()
    from penstock_transformer.predictions.database.opening import open_predictions

    return open_predictions(url)
