"""Feast's side of bench/pipeline.py, in a process of its own: its import alone takes seconds.

python bench/pipeline_feast.py fill DIRECTORY REDIS_PORT ENTITIES     definitions applied, the online store filled
python bench/pipeline_feast.py measure DIRECTORY SECONDS              CPU of get_online_features a row, one JSON line
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

NUMERIC = [f"n{i:02d}" for i in range(20)]
SEGMENTS = ["retail", "travel", "food", "fuel", "rent", "media", "health", "sport", "games", "books", "cash", "other"]
PROJECT = "bench"


def definitions(directory: Path) -> list[Any]:
    """An entity and a feature view of 20 numbers and a string."""
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, String

    entity = Entity(name="customer_id", join_keys=["customer_id"], value_type=ValueType.INT64)
    source = FileSource(path=str(directory / "stats.parquet"), timestamp_field="event_timestamp")
    schema = [*(Field(name=name, dtype=Float64) for name in NUMERIC), Field(name="segment", dtype=String)]
    return [entity, FeatureView(name="stats", entities=[entity], ttl=timedelta(days=3650), schema=schema, source=source)]


def open_store(directory: Path) -> Any:
    from feast import FeatureStore

    return FeatureStore(repo_path=str(directory))


def fill(directory: Path, port: int, entities: int) -> None:
    import numpy as np
    import pandas as pd

    (directory / "feature_store.yaml").write_text(
        f"project: {PROJECT}\nprovider: local\nregistry: {directory / 'registry.db'}\nentity_key_serialization_version: 3\n"
        f"online_store: {{type: redis, connection_string: 'localhost:{port}'}}\noffline_store: {{type: file}}\n"
    )
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(entities, len(NUMERIC))), columns=NUMERIC)
    frame["segment"] = [SEGMENTS[i % len(SEGMENTS)] for i in range(entities)]
    frame["customer_id"] = np.arange(entities)
    frame["event_timestamp"] = datetime.now(UTC) - timedelta(hours=1)
    frame.head(10).to_parquet(directory / "stats.parquet")
    store = open_store(directory)
    store.apply(definitions(directory))
    store.write_to_online_store("stats", frame)


def measure(directory: Path, seconds: float) -> None:
    store = open_store(directory)
    features = [f"stats:{name}" for name in [*NUMERIC, "segment"]]
    found = {}
    for rows in (1, 100):
        asked = [[{"customer_id": start + i} for i in range(rows)] for start in range(0, 500)]
        store.get_online_features(features=features, entity_rows=asked[0]).to_dict()
        count, began, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            store.get_online_features(features=features, entity_rows=asked[count % len(asked)]).to_dict()
            count += 1
        found[str(rows)] = (time.process_time() - cpu) / count / rows * 1e6
    print(json.dumps({"cpu_us_a_row": found}))


def main() -> None:
    command, directory, *rest = sys.argv[1:]
    if command == "fill":
        fill(Path(directory), int(rest[0]), int(rest[1]))
    else:
        measure(Path(directory), float(rest[0]))


if __name__ == "__main__":
    main()
