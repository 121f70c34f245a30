"""The feature views that the tests write and read: one with every value type, and one per kind of key."""

import feast.types as t
import pandas as pd
from feast import Entity, FeatureView, Field, FileSource, OnDemandFeatureView, ValueType
from feast.transformation.pandas_transformation import PandasTransformation

user = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)
item = Entity(name="item", join_keys=["item"], value_type=ValueType.INT64)
slot = Entity(name="slot", join_keys=["slot"], value_type=ValueType.INT32)
blob = Entity(name="blob", join_keys=["blob"], value_type=ValueType.BYTES)
moment = Entity(name="moment", join_keys=["moment"], value_type=ValueType.UNIX_TIMESTAMP)

NAMES = {
    "bytes": "Bytes", "string": "String", "int32": "Int32", "int64": "Int64", "double": "Float64", "float": "Float32",
    "bool": "Bool", "time": "UnixTimestamp", "uuid": "Uuid", "time_uuid": "TimeUuid", "decimal": "Decimal", "json": "Json",
    "pdf": "PdfBytes", "image": "ImageBytes", "zoned": "ZonedTimestamp", "map": "Map", "scalar_map": "ScalarMap",
}  # fmt: skip
# Older Feasts have fewer types: the view has those that this one has, and the tests ask the view.
SCALARS = {name: getattr(t, kind) for name, kind in NAMES.items() if hasattr(t, kind)}
SCALARS["struct"] = t.Struct({"a": t.Int64, "b": t.String})
COLLECTIONS = ("bytes", "string", "int32", "int64", "double", "float", "bool", "time", "uuid", "time_uuid", "decimal")


def source(name):
    return FileSource(name=f"{name}_source", path=f"data/{name}.parquet", timestamp_field="event_timestamp")


def view(name, entities, schema, **options):
    return FeatureView(name=name, entities=entities, schema=schema, source=source(name), **options)


every_type = view(
    "every_type",
    [user],
    [Field(name=name, dtype=kind) for name, kind in SCALARS.items()]
    + [Field(name=f"{name}_list", dtype=t.Array(SCALARS[name])) for name in (*COLLECTIONS, "json", "map", "struct")]
    + [Field(name=f"{name}_set", dtype=t.Set(SCALARS[name])) for name in COLLECTIONS]
    + [Field(name="nested", dtype=t.Array(t.Array(t.Int64))), Field(name="nested_set", dtype=t.Set(t.Array(t.Int64)))],
)
plain = [Field(name="amount", dtype=t.Float64), Field(name="count", dtype=t.Int64), Field(name="name", dtype=t.String)]
by_string = view("by_string", [user], plain)
by_int64 = view("by_int64", [item], plain)
by_int32 = view("by_int32", [slot], plain)
by_bytes = view("by_bytes", [blob], plain)
by_time = view("by_time", [moment], plain)
by_two = view("by_two", [user, item], plain)
offline_only = view("offline_only", [item], plain, online=False)


def twice(frame):
    return pd.DataFrame({"twice": frame["amount"] * 2.0})


on_demand = OnDemandFeatureView(
    name="on_demand",
    sources=[by_int64],
    schema=[Field(name="twice", dtype=t.Float64)],
    feature_transformation=PandasTransformation(udf=twice, udf_string="twice"),
)
