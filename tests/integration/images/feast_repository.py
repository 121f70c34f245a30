"""Makes the flights' Feast repository in a folder, with a row of each view; run inside an image, by nothing but its Feast.

python3 feast_repository.py FOLDER
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String, UnixTimestamp

CONFIGURATION = """\
project: flights
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
offline_store: {type: file}
entity_key_serialization_version: 3
"""
NOW = datetime.now(UTC)
ROWS = {
    "flights": {"flight_id": "UA 1", "distance": 500.5, "carrier": "UA", "tailnum": "N1", "leaves": NOW},
    "planes": {"tailnum": "N1", "seats": 180},
}


def view(entity: Entity, name: str, **values: object) -> FeatureView:
    source = FileSource(name=f"{name}_source", path=f"data/{name}.parquet", timestamp_field="event_timestamp")
    schema = [Field(name=value, dtype=kind) for value, kind in values.items()]
    return FeatureView(name=name, entities=[entity], schema=schema, source=source)


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / "feature_store.yaml").write_text(CONFIGURATION)
    flight = Entity(name="flight", join_keys=["flight_id"], value_type=ValueType.STRING)
    plane = Entity(name="plane", join_keys=["tailnum"], value_type=ValueType.STRING)
    flights = view(flight, "flights", distance=Float64, carrier=String, tailnum=String, leaves=UnixTimestamp)
    store = FeatureStore(repo_path=str(folder))
    store.apply([flight, plane, flights, view(plane, "planes", seats=Int64)])
    for name, row in ROWS.items():
        store.write_to_online_store(name, pd.DataFrame([{**row, "event_timestamp": NOW}]))


main()
