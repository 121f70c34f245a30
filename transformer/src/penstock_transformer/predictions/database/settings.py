"""How the predictions database is used: bounds and times, handed to `open_predictions`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """Bounds of one process. `timeout_s`: a call that takes longer is given up. `connections`: of one process, beside the one
    that listens (PostgreSQL) or writes (SQLite). `queue_*`: submits that may wait for their turn; `batch_*`: those that share a
    transaction. `open_s`: how long opening waits for another process that has the SQLite file."""

    timeout_s: float = 10.0
    connections: int = 8
    queue_items: int = 4096
    queue_bytes: int = 256 * 2**20
    batch_items: int = 512
    batch_bytes: int = 16 * 2**20
    open_s: float = 15.0


DEFAULT = DatabaseSettings()
