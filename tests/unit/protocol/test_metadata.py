"""The JSON of models and of the server."""

from penstock import __version__
from penstock.dataplane import ModelMetadata, TensorMetadata
from penstock.protocol.metadata import EXTENSIONS, model_metadata, server_metadata


def test_model() -> None:
    x, y = TensorMetadata("x", "FP32", (-1, 32)), TensorMetadata("y", "INT64", (-1,))
    plain = {
        "name": "m",
        "versions": ["1"],
        "platform": "onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 32]}],
        "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}],
    }
    assert model_metadata(ModelMetadata("m", ("1",), "onnx", (x,), (y,))) == plain
    full = ModelMetadata("m", ("1",), "onnx", (x,), (y,), bundle="m@sha256:0", properties={"profile": {}})
    assert model_metadata(full) == {**plain, "bundle": "m@sha256:0", "properties": {"profile": {}}}


def test_server() -> None:
    assert server_metadata() == {"name": "penstock", "version": __version__, "extensions": EXTENSIONS}
