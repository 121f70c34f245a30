"""A plain model.onnx as a bundle without features: the bundle.yaml that it would have had."""

import re
from collections.abc import Sequence
from pathlib import Path

from penstock.bundle.files import digest_file
from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.bundle.manifest_text import write_manifest
from penstock.dataplane import TensorMetadata
from penstock.onnx.external import external_files


def plain_manifest(
    model_name: str, model_file: Path, inputs: Sequence[TensorMetadata], outputs: Sequence[TensorMetadata]
) -> tuple[Manifest, bytes]:
    """The manifest of a plain model and its bytes: the same file under the same name gives the same digest.

    Raises InvalidInput if the file is not a model, or its external data lies elsewhere.
    """
    external = tuple(external_files(model_file))
    files = {name: digest_file(model_file.parent / name, name) for name in (model_file.name, *external)}
    name = re.sub(r"[^A-Za-z0-9._-]", "-", model_name).strip("._-")[:128] or "model"
    signature = ModelSignature(model_file.name, tuple(inputs), tuple(outputs), None, external)
    manifest = Manifest(name, "1", signature, PostprocessSpec("raw"), files)
    return manifest, write_manifest(manifest)
