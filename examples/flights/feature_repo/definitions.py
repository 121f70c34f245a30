"""The example's feature views, in Feast's own words: what is stored about flights, planes, weather and airports.

`penstock features apply` registers them, `penstock features load` fills the online store, `penstock bundle build` stamps their
layout into the bundle. Every column here is known two hours before a flight's scheduled departure.
"""

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String, UnixTimestamp

HISTORY = "../../../.run/flights/history"

flight = Entity(name="flight", join_keys=["flight_id"], value_type=ValueType.STRING)
plane = Entity(name="plane", join_keys=["tailnum"], value_type=ValueType.STRING)
airport = Entity(name="airport", join_keys=["faa"], value_type=ValueType.STRING)
# One observation is found by two keys: the airport and the hour, as the number YYYYMMDDHH in UTC.
station = Entity(name="station", join_keys=["origin"], value_type=ValueType.STRING)
hour = Entity(name="hour", join_keys=["hour"], value_type=ValueType.INT64)


def history(name: str) -> FileSource:
    """The view's history, which point-in-time joins for training read."""
    return FileSource(name=name, path=f"{HISTORY}/{name}.parquet", timestamp_field="event_timestamp")


# The schedule. This is the record that `GET /predict/{flight_id}` looks up; it also holds the keys of the other views.
flights = FeatureView(
    name="flights",
    entities=[flight],
    ttl=timedelta(0),
    schema=[
        Field(name="carrier", dtype=String),
        Field(name="origin", dtype=String),
        Field(name="dest", dtype=String),
        Field(name="tailnum", dtype=String),
        Field(name="distance", dtype=Float64),
        # Wall-clock time at the airport, kept as if it were UTC: a schedule's rhythm follows the clock on the wall.
        Field(name="departs", dtype=UnixTimestamp),
        # The hour of the weather observation that is at hand two hours before departure.
        Field(name="hour_utc", dtype=Int64),
    ],
    source=history("flights"),
)

planes = FeatureView(
    name="planes",
    entities=[plane],
    ttl=timedelta(0),
    schema=[Field(name="built", dtype=Int64), Field(name="seats", dtype=Int64), Field(name="engines", dtype=Int64)],
    source=history("planes"),
)

weather = FeatureView(
    name="weather",
    entities=[station, hour],
    ttl=timedelta(0),
    schema=[
        Field(name="temp", dtype=Float64),
        Field(name="humid", dtype=Float64),
        Field(name="wind_speed", dtype=Float64),
        Field(name="precip", dtype=Float64),
        Field(name="pressure", dtype=Float64),
        Field(name="visib", dtype=Float64),
    ],
    source=history("weather"),
)

airports = FeatureView(
    name="airports",
    entities=[airport],
    ttl=timedelta(0),
    schema=[Field(name="lat", dtype=Float64), Field(name="lon", dtype=Float64), Field(name="alt", dtype=Float64)],
    source=history("airports"),
)
