"""Two small whole bundles on disk and an empty feature store, for tests of programs: flights with stored features, and pictures.

    write_flights(directory), write_pictures(directory) -> bundles;  write_store(file) -> Feast's SQLite layout without a row

Needs the `onnx` package.
"""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.bundle.files import digest_bytes
from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.bundle.manifest_text import MANIFEST, write_manifest
from penstock.dataplane import TensorMetadata
from penstock.features.compiler import compile_encoder
from penstock.features.reading import read_spec
from penstock.testing.server import ServerProcess

FLIGHTS = """\
formatVersion: 1
record: {set: flights, key: flight_id}
sets:
  flights: {view: flights, keys: {flight_id: flight_id}}
  planes: {view: planes, keys: {tailnum: tailnum}}
features:
- {name: distance, from: request, type: float32, missing: reject, encode: [log1p]}
- {name: carrier, from: request, type: string, missing: {default: AA}, encode: {oneHot: {categories: [AA, UA], unseen: zeros}}}
- {name: stops, from: request, type: int32, missing: {default: 0}, encode: [passthrough]}
- {name: leaves, from: request, type: timestamp, missing: {default: 0}, encode: {timestampParts: {parts: [hour]}}}
- {name: seats, from: planes.seats, type: int64, missing: {default: 149}, encode: {standardise: {mean: 100.0, std: 50.0}}}
tensors: {x: [distance, carrier, stops, leaves, seats]}
store:
  project: flights
  keySerialization: 3
  views:
    flights: {keys: {flight_id: string}, values: {distance: double, carrier: string, tailnum: string, leaves: unix_timestamp}}
    planes: {keys: {tailnum: string}, values: {seats: int64}}
"""

PICTURES = """\
formatVersion: 1
features:
- {name: picture, from: request, type: image, missing: reject, encode: {image: {resize: [4, 4], mode: grey}}}
tensors: {pixels: [picture]}
"""

_TABLE = """\
CREATE TABLE {} (
  entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, value_num REAL, vector_value BLOB,
  event_ts timestamp, created_ts timestamp, PRIMARY KEY (entity_key, feature_name))
"""


def write_flights(directory: Path, *, features: str = FLIGHTS) -> Path:
    """A classifier `late` or `on time` over six encoded columns, with a record set; the bundle's directory."""
    weights = np.array([[0.5], [0.25], [-0.25], [0.125], [0.0], [1.0]], np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["logit"]), helper.make_node("Sigmoid", ["logit"], ["late"])]
    model = _model(nodes, _floats("x", ["rows", 6]), _floats("late", ["rows", 1]), {"w": weights})
    signature = ModelSignature(
        "model.onnx", (TensorMetadata("x", "FP32", (-1, 6)),), (TensorMetadata("late", "FP32", (-1, 1)),), True
    )
    postprocess = PostprocessSpec("classification", "late", ("on time", "late"), 0.5)
    return _write(directory, "flights", features, model, signature, postprocess)


def write_pictures(directory: Path) -> Path:
    """A regression: the mean of an image's grey values, 0 to 1; the bundle's directory."""
    nodes = [helper.make_node("ReduceMean", ["pixels"], ["brightness"], axes=[1, 2, 3], keepdims=0)]
    model = _model(nodes, _floats("pixels", ["rows", 1, 4, 4]), _floats("brightness", ["rows"]), {})
    inputs, outputs = (TensorMetadata("pixels", "FP32", (-1, 1, 4, 4)),), (TensorMetadata("brightness", "FP32", (-1,)),)
    return _write(
        directory, "pictures", PICTURES, model, ModelSignature("model.onnx", inputs, outputs, True), PostprocessSpec("regression")
    )


def write_store(file: Path) -> str:
    """An SQLite online store as Feast makes it for the flights' views, without rows; its URL."""
    with sqlite3.connect(file) as connection:
        for view in ("flights", "planes"):
            connection.execute(_TABLE.format(f"flights_{view}"))
            connection.execute(f"CREATE INDEX flights_{view}_ek ON flights_{view} (entity_key)")
    connection.close()
    return f"sqlite:///{file}"


def _write(
    directory: Path, name: str, features: str, model: bytes, signature: ModelSignature, postprocess: PostprocessSpec
) -> Path:
    files = {"features.yaml": features.encode(), "encoder.onnx": compile_encoder(read_spec(features)), "model.onnx": model}
    entries = {file: digest_bytes(content) for file, content in files.items()}
    files[MANIFEST] = write_manifest(Manifest(name, "1", signature, postprocess, entries))
    directory.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (directory / file).write_bytes(content)
    return directory


def _floats(name: str, shape: list[int | str]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(nodes: list[Any], taken: Any, given: Any, constants: dict[str, Any]) -> bytes:
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", [taken], [given], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def serve_flights(directory: Path, *arguments: str, env: dict[str, str] | None = None) -> ServerProcess:
    """`penstock serve` over both bundles and an empty store, made in `directory` unless they are there; not yet started."""
    store = directory / "online.db"
    if not store.exists():
        write_flights(directory / "flights")
        write_pictures(directory / "pictures")
        write_store(store)
    bundles = [str(directory / "flights"), str(directory / "pictures")]
    url = f"sqlite:///{store}"
    return ServerProcess(
        "penstock_cli.serve", *bundles, "--feature_store", url, "--log_level", "info", *arguments, env=env, cwd=str(directory)
    )
