"""bundle.yaml as text: parsed with errors that name the field, and written so that equal manifests are equal bytes."""

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, cast

from penstock.bundle.manifest import FileEntry, Manifest, ModelSignature, PostprocessSpec, ZeroShotSpec
from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput
from penstock.features.document import read_document, write_document
from penstock.features.parameters import Parameters, describe
from penstock.features.reading import read_format_version
from penstock.tensors import DATATYPES

MANIFEST = "bundle.yaml"
FORMAT_VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_manifest(text: bytes) -> Manifest:
    """The manifest that the bytes of a bundle.yaml hold. Raises InvalidInput naming the field."""
    p = Parameters(read_document(text, MANIFEST), "")
    version = read_format_version(p, FORMAT_VERSION)
    name, bundle_version = read_name(p, "name"), read_name(p, "version")
    files = _read_files(p.mapping("files"))
    model = _read_model(p.mapping("model"))
    postprocess = read_postprocess(p.mapping("postprocess")) if p.has("postprocess") else PostprocessSpec("raw")
    fused = p.text("fused") if p.has("fused") else None
    card = p.mapping("card", {}).values
    p.done()
    for field, file in [("model.file", model.file), *(("model.external", f) for f in model.external), ("fused", fused)]:
        if file is not None and file not in files:
            raise InvalidInput(f"{file!r} is not listed under files", field=field)
    if ("features.yaml" in files) != ("encoder.onnx" in files):
        raise InvalidInput("expected features.yaml and encoder.onnx together, or neither", field="files")
    return Manifest(name, bundle_version, model, postprocess, files, card, version, fused)


def read_name(p: Parameters, field: str) -> str:
    """A bundle's name or version, which goes into headers and paths: letters, digits, dots, underscores and hyphens."""
    name = p.text(field)
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f"expected up to 128 letters, digits, . _ - (in quotes if a number), got {describe(name)}", field=p.field(field)
        )
    return name


def check_file_name(name: str, field: str) -> None:
    """Raises InvalidInput for a name that could lead out of the bundle's directory on any system, before anything is opened."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    plain = posix.as_posix() == name and not posix.is_absolute() and not windows.anchor and ".." not in windows.parts
    if not plain or "\\" in name or "\x00" in name or not name.isprintable() or name in (".", MANIFEST):
        raise InvalidInput(f"expected the name of a file inside the bundle, got {describe(name)}", field=field)


def _read_files(p: Parameters) -> dict[str, FileEntry]:
    files = {}
    for name in p.values:
        check_file_name(name, p.path)
        each = p.mapping(name)
        sha256 = each.text("sha256")
        if not _SHA256.fullmatch(sha256):
            raise InvalidInput(f"expected 64 hexadecimal digits, got {describe(sha256)}", field=each.field("sha256"))
        files[name] = FileEntry(sha256, each.integer("bytes", least=0))
        each.done()
    return files


def _read_model(p: Parameters) -> ModelSignature:
    external = p.items("external", [])
    if not all(isinstance(file, str) for file in external):
        raise InvalidInput("expected names of files", field=p.field("external"))
    independent = p.flag("rowsIndependent") if p.has("rowsIndependent") else None
    signature = ModelSignature(
        p.text("file"), _read_tensors(p, "inputs"), _read_tensors(p, "outputs"), independent, tuple(external)
    )
    p.done()
    return signature


def _read_tensors(p: Parameters, name: str) -> tuple[TensorMetadata, ...]:
    tensors = tuple(p.each(name, _read_tensor))
    if not tensors:
        raise InvalidInput("expected at least one tensor", field=p.field(name))
    return tensors


def _read_tensor(p: Parameters) -> TensorMetadata:
    shape = p.items("shape")
    if not all(type(axis) is int and axis >= -1 for axis in shape):
        raise InvalidInput("expected lengths of axes, -1 for one that varies", field=p.field("shape"))
    tensor = TensorMetadata(p.text("name"), p.choice("datatype", DATATYPES), tuple(shape))
    p.done()
    return tensor


def read_postprocess(p: Parameters) -> PostprocessSpec:
    """The `postprocess` part. Whether it fits the model's outputs is `penstock.postprocess`'s to say."""
    kind = p.choice("kind", ("classification", "regression", "boolean", "raw", "zeroShot"))
    labels = p.items("labels", [])
    seen: set[str] = set()
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            raise InvalidInput(f"expected text, got {describe(label)}; put it in quotes", field=f"{p.field('labels')}[{index}]")
        if label in seen:
            raise InvalidInput(f"{label!r} is given twice", field=f"{p.field('labels')}[{index}]")
        seen.add(label)
    spec = PostprocessSpec(
        cast(Any, kind),
        p.text("from") if p.has("from") else None,
        tuple(labels),
        p.number("threshold") if p.has("threshold") else None,
        cast(Any, p.choice("activation", ("softmax", "sigmoid"))) if p.has("activation") else None,
        _read_zero_shot(p) if kind == "zeroShot" else None,
    )
    p.done()
    return spec


def _read_zero_shot(p: Parameters) -> ZeroShotSpec:
    for name in ("threshold", "activation"):
        if p.has(name):
            raise InvalidInput("does not go with kind: zeroShot", field=p.field(name))
    template = p.text("template", "{}")
    if template.count("{}") != 1:
        raise InvalidInput(f"expected one {{}}, where the label goes, got {describe(template)}", field=p.field("template"))
    entailment = p.integer("entailment", least=0) if p.has("entailment") else None
    contradiction = p.integer("contradiction", least=0) if p.has("contradiction") else None
    independent = p.flag("independent")
    if entailment is None:
        for name in ("contradiction", "independent"):
            if p.has(name):
                raise InvalidInput("is for models of pairs, which have `entailment`", field=p.field(name))
    elif p.has("temperature"):
        raise InvalidInput("is for embeddings, not for `entailment`", field=p.field("temperature"))
    if contradiction == entailment and entailment is not None:
        raise InvalidInput("expected another column than entailment's", field=p.field("contradiction"))
    return ZeroShotSpec(
        p.text("feature"),
        template,
        p.number("temperature", 0.05, above=0.0),
        entailment,
        contradiction,
        independent,
        p.integer("maxLabels", 100, least=1, most=10_000),
    )


def write_manifest(manifest: Manifest) -> bytes:
    """The bytes of bundle.yaml, whose SHA-256 is the bundle's digest."""
    document: dict[str, Any] = {
        "formatVersion": manifest.format_version,
        "name": manifest.name,
        "version": manifest.version,
        "model": _model_fields(manifest.model),
        "postprocess": postprocess_fields(manifest.postprocess),
    }
    if manifest.fused is not None:
        document["fused"] = manifest.fused
    if manifest.card:
        document["card"] = manifest.card
    document["files"] = {
        name: {"sha256": manifest.files[name].sha256, "bytes": manifest.files[name].bytes} for name in sorted(manifest.files)
    }
    return write_document(document).encode()


def _model_fields(model: ModelSignature) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "file": model.file,
        "inputs": [_tensor_fields(tensor) for tensor in model.inputs],
        "outputs": [_tensor_fields(tensor) for tensor in model.outputs],
    }
    if model.rows_independent is not None:
        fields["rowsIndependent"] = model.rows_independent
    if model.external:
        fields["external"] = list(model.external)
    return fields


def _tensor_fields(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def postprocess_fields(spec: PostprocessSpec) -> dict[str, Any]:
    """The `postprocess` part as plain values."""
    fields: dict[str, Any] = {} if spec.source is None else {"from": spec.source}
    fields["kind"] = spec.kind
    if spec.labels:
        fields["labels"] = list(spec.labels)
    if spec.threshold is not None:
        fields["threshold"] = spec.threshold
    if spec.activation is not None:
        fields["activation"] = spec.activation
    return fields if spec.zero_shot is None else fields | _zero_shot_fields(spec.zero_shot)


def _zero_shot_fields(spec: ZeroShotSpec) -> dict[str, Any]:
    fields: dict[str, Any] = {"feature": spec.feature, "template": spec.template}
    if spec.entailment is None:
        return fields | {"temperature": spec.temperature, "maxLabels": spec.max_labels}
    contradiction = {} if spec.contradiction is None else {"contradiction": spec.contradiction}
    return (
        fields | {"entailment": spec.entailment} | contradiction | {"independent": spec.independent, "maxLabels": spec.max_labels}
    )
