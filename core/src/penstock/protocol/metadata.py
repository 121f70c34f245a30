"""The JSON of `GET /v2` and `GET /v2/models/{m}`.

Source: Open Inference Protocol v2, "Server Metadata" and "Model Metadata".
"""

from typing import Any

from penstock import __version__
from penstock.dataplane import ModelMetadata, TensorMetadata

EXTENSIONS = ["binary_tensor_data", "model_configuration", "statistics"]


def server_metadata(name: str = "penstock") -> dict[str, Any]:
    """What `GET /v2` answers."""
    return {"name": name, "version": __version__, "extensions": EXTENSIONS}


def model_metadata(metadata: ModelMetadata) -> dict[str, Any]:
    """What `GET /v2/models/{m}` answers: the protocol's members, then our own `bundle` and `properties` where there are any."""
    document: dict[str, Any] = {
        "name": metadata.name,
        "versions": list(metadata.versions),
        "platform": metadata.platform,
        "inputs": [_tensor_metadata(tensor) for tensor in metadata.inputs],
        "outputs": [_tensor_metadata(tensor) for tensor in metadata.outputs],
    }
    if metadata.bundle:
        document["bundle"] = metadata.bundle
    if metadata.properties:
        document["properties"] = metadata.properties
    return document


def _tensor_metadata(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
