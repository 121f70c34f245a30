"""Settings of the object store for large bodies; the programs that read or write such bodies inherit them."""

from dataclasses import dataclass
from pathlib import Path

from penstock.settings import setting


@dataclass(frozen=True, kw_only=True)
class ObjectSettings:
    """Where large inputs and results lie, and what counts as large."""

    objects: str | None = setting(
        None,
        "Where large bodies are kept: file:///FOLDER or s3://BUCKET/PREFIX (credentials and endpoint by AWS_… variables). "
        "With an SQLite --database: a folder beside it.",
    )
    # Kafka takes records of 1 MiB by default, headers and its own framing included, and a database is slow with large rows.
    inline_bytes: int = setting(262_144, "Bodies up to this go in the row and the record themselves.", unit="bytes")
    object_bytes: int = setting(268_435_456, "Largest body that is kept.", unit="bytes")
    objects_timeout_s: float = setting(30.0, "Longest read or write of one body.", unit="s", least=0.001)
    objects_sweep_s: float = setting(900.0, "How often bodies that belong to no prediction are looked for; 0: never.", unit="s")
    # Kafka keeps records for 7 days unless told otherwise: the prediction of a foreign producer's record has no row.
    objects_keep_s: float = setting(
        604_800.0, "How long a large prediction is kept that has no row: as long as its topic keeps records.", unit="s"
    )


def objects_beside(database: Path) -> str:
    """The embedded default: a folder beside an SQLite database's file."""
    return f"file://{database.resolve()}.objects"
