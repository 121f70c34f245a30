"""Feast's side of bench/pipeline.py, in a process of its own: its import alone takes seconds.

    python bench/pipeline_feast.py DIRECTORY REDIS_PORT ENTITIES SQLITE

Definitions applied and the online store filled, vectors of some entities pre-computed; the same without vectors in a second
repository, in the directory SQLITE, over its online.db. Then a line is printed, and for each number of seconds on the standard
input another: the CPU of get_online_features a row, as JSON.

The pre-computed vectors are Feast's fastest way: one blob an entity that holds all features of a service.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

NUMERIC = [f"n{i:02d}" for i in range(20)]
SEGMENTS = ["retail", "travel", "food", "fuel", "rent", "media", "health", "sport", "games", "books", "cash", "other"]
PROJECT = "bench"
SERVICE = "scoring"
BATCHES = (1, 100)
# Entities that are asked for, and so have a vector: Feast writes those one round trip each.
ASKED = 600


def definitions(directory: Path) -> list[Any]:
    """An entity, a feature view of 20 numbers and a string, and a service of all of it whose vectors are pre-computed."""
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, String

    entity = Entity(name="customer_id", join_keys=["customer_id"], value_type=ValueType.INT64)
    source = FileSource(path=str(directory / "stats.parquet"), timestamp_field="event_timestamp")
    schema = [*(Field(name=name, dtype=Float64) for name in NUMERIC), Field(name="segment", dtype=String)]
    view = FeatureView(name="stats", entities=[entity], ttl=timedelta(days=3650), schema=schema, source=source)
    return [entity, view, FeatureService(name=SERVICE, features=[view], precompute_online=True)]


def open_store(directory: Path) -> Any:
    from feast import FeatureStore

    return FeatureStore(repo_path=str(directory))


def apply(directory: Path, online_store: str, entities: int) -> tuple[Any, Any]:
    """A repository with this online store, applied; Feast's store, and a frame of a row an entity."""
    import numpy as np
    import pandas as pd

    (directory / "feature_store.yaml").write_text(
        f"project: {PROJECT}\nprovider: local\nregistry: {directory / 'registry.db'}\nentity_key_serialization_version: 3\n"
        f"online_store: {online_store}\noffline_store: {{type: file}}\n"
    )
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(entities, len(NUMERIC))), columns=NUMERIC)
    frame["segment"] = [SEGMENTS[i % len(SEGMENTS)] for i in range(entities)]
    frame["customer_id"] = np.arange(entities)
    frame["event_timestamp"] = datetime.now(UTC) - timedelta(hours=1)
    frame.head(10).to_parquet(directory / "stats.parquet")
    store = open_store(directory)
    store.apply(definitions(directory))
    return store, frame


def fill(directory: Path, port: int, entities: int) -> None:
    store, frame = apply(directory, f"{{type: redis, connection_string: 'localhost:{port}'}}", entities)
    # Every entity that the store holds when vectors are computed gets one.
    store.write_to_online_store("stats", frame.head(ASKED))
    computed = store.precompute_feature_service(SERVICE)
    if computed != ASKED:
        sys.exit(f"Feast pre-computed {computed} vectors, expected {ASKED}")
    store.write_to_online_store("stats", frame.iloc[ASKED:])


def fill_sqlite(directory: Path, entities: int) -> None:
    directory.mkdir(exist_ok=True)
    store, frame = apply(directory, f"{{type: sqlite, path: '{directory / 'online.db'}'}}", entities)
    store.write_to_online_store("stats", frame)


def measure(directory: Path, seconds: float) -> dict[str, dict[str, float]]:
    """CPU us a row by the number of rows: `live`, the features by name; `precomputed`, the service's vectors."""
    store = open_store(directory)
    names = [f"stats:{name}" for name in [*NUMERIC, "segment"]]
    service = store.get_feature_service(SERVICE)
    found: dict[str, dict[str, float]] = {"live": {}, "precomputed": {}}
    for rows in BATCHES:
        asked = [[{"customer_id": start + i} for i in range(rows)] for start in range(ASKED - rows)]

        def live(entity_rows: Any) -> Any:
            return store.get_online_features(features=names, entity_rows=entity_rows).to_dict()

        def precomputed(entity_rows: Any) -> Any:
            # With short names Feast 0.67 does not find the names that it stored itself.
            answer = store.get_online_features(features=service, entity_rows=entity_rows, full_feature_names=True)
            return answer.to_dict()

        if live(asked[0]) != {name.removeprefix("stats__"): values for name, values in precomputed(asked[0]).items()}:
            sys.exit("Feast's pre-computed vectors hold other values than its features by name")
        found["live"][str(rows)] = cpu_us(live, asked, seconds / len(BATCHES) / 2) / rows
        found["precomputed"][str(rows)] = cpu_us(precomputed, asked, seconds / len(BATCHES) / 2) / rows
    return found


def cpu_us(read: Callable[[Any], Any], asked: list[Any], seconds: float) -> float:
    """This process's CPU time of one read."""
    count, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        read(asked[count % len(asked)])
        count += 1
    return (time.process_time() - cpu) / count * 1e6


def main() -> None:
    warnings.simplefilter("ignore")
    directory, port, entities, sqlite = sys.argv[1:]
    fill(Path(directory), int(port), int(entities))
    fill_sqlite(Path(sqlite), int(entities))
    print("{}", flush=True)
    for seconds in sys.stdin:
        print(json.dumps(measure(Path(directory), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
