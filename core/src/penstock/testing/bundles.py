"""Bundles and a predictor for tests of what calls one: small files in memory, and a DataPlane that holds a bundle without a
model.

    features.yaml's text -> bundle_files -> {file: bytes} -> FakePredictor (serves the files, computes with a Python function)

Needs the `onnx` package, to compile encoders.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from penstock.bundle.files import bundle_digest, digest_bytes
from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.bundle.manifest_text import MANIFEST, write_manifest
from penstock.dataplane import InferRequest, InferResponse, ModelMetadata, Reply, TensorMetadata
from penstock.errors import NotFound, PenstockError, WrongBundle
from penstock.features.compiler import compile_encoder
from penstock.features.reading import read_spec
from penstock.tensors import Array, Tensor

Compute = Callable[[dict[str, Array]], dict[str, Array]]
TRIPS = """\
formatVersion: 1
record: {set: trips, key: trip_id}
sets:
  trips: {view: trips, keys: {trip_id: trip_id}}
  planes: {view: planes, keys: {tailnum: tailnum}, maxAge: 10d}
features:
  - {name: distance, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: seats, from: planes.seats, type: int64, missing: {default: 100}, encode: {cast: {to: float32}}}
  - {name: weight, from: planes.weight, type: float32, missing: reject, encode: passthrough}
tensors: {x: [distance, seats, weight]}
store:
  project: test
  keySerialization: 3
  views:
    trips: {keys: {trip_id: int64}, values: {distance: double, tailnum: string, note: string}}
    planes: {keys: {tailnum: string}, values: {seats: int64, weight: double}}
"""
"""A features.yaml with stored features: a trip by its id, the plane that flies it by its tail number."""


def bundle_files(
    features: str | None,
    *,
    name: str = "flights",
    version: str = "7",
    inputs: Sequence[TensorMetadata] = (TensorMetadata("x", "FP32", (-1, 3)),),
    outputs: Sequence[TensorMetadata] = (TensorMetadata("y", "FP32", (-1,)),),
    postprocess: PostprocessSpec | None = None,
    independent: bool | None = True,
    model: bytes = b"not served",
    files: Mapping[str, bytes] | None = None,
) -> dict[str, bytes]:
    """The small files of a bundle, bundle.yaml among them, for a `features.yaml` text or None; `model` is digested only. `files`
    are further ones, such as a tokenizer.json.
    """
    small: dict[str, bytes] = dict(files or {})
    if features is not None:
        small["features.yaml"] = features.encode()
        small["encoder.onnx"] = compile_encoder(read_spec(features))
    entries = {file: digest_bytes(content) for file, content in {**small, "model.onnx": model}.items()}
    signature = ModelSignature("model.onnx", tuple(inputs), tuple(outputs), independent)
    manifest = Manifest(name, version, signature, postprocess or PostprocessSpec("regression", "y"), entries)
    return {MANIFEST: write_manifest(manifest), **small}


def write_bundle(directory: Path, model: bytes, features: str | None, **given: Any) -> str:
    """A bundle's directory, for programs that load one; `given` as for `bundle_files`. Its digest."""
    files = bundle_files(features, model=model, **given)
    directory.mkdir(parents=True)
    for name, content in {**files, "model.onnx": model}.items():
        (directory / name).write_bytes(content)
    return digest_of(files)


def digest_of(files: dict[str, bytes]) -> str:
    """The digest of a bundle by its files."""
    return bundle_digest(files[MANIFEST])


def row_sums(tensors: dict[str, Array]) -> dict[str, Array]:
    """`y` = the sum of a row of `x`."""
    return {"y": tensors["x"].sum(axis=1, dtype=np.float32)}


class FakePredictor:
    """A DataPlane that holds one bundle. Set `failure` to make calls fail, `held` to keep answers back until `release`.

    `calls` holds the requests it got, `called` says that there is one; `files` may be replaced to roll it to another bundle.
    """

    def __init__(self, files: dict[str, bytes], *, model: str = "flights", compute: Compute = row_sums) -> None:
        self.files = files
        self.model = model
        self.compute = compute
        self.calls: list[InferRequest] = []
        self.called = asyncio.Event()
        self.failure: Callable[[InferRequest], PenstockError | None] | None = None
        self.held: list[tuple[InferRequest, Reply]] | None = None
        self.signature: tuple[Sequence[TensorMetadata], Sequence[TensorMetadata]] = ((), ())

    @property
    def digest(self) -> str:
        return digest_of(self.files) if self.files else ""

    @property
    def label(self) -> str:
        return f"{self.model}@{self.digest}" if self.files else ""

    def submit(self, request: InferRequest, reply: Reply) -> None:
        self.calls.append(request)
        self.called.set()
        expect = request.context.expect_bundle
        failure = self.failure(request) if self.failure is not None else None
        if failure is not None:
            reply.error(failure)
        elif expect is not None and expect != self.digest:
            reply.error(WrongBundle(f"this predictor holds {self.label}"))
        elif self.held is not None:
            self.held.append((request, reply))
        else:
            asyncio.get_running_loop().call_soon(self._answer, request, reply)

    def release(self) -> None:
        """Answer what was held back, and hold back no more."""
        held, self.held = self.held or [], None
        for request, reply in held:
            self._answer(request, reply)

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        del version
        if model != self.model:
            raise NotFound(f"no model {model!r}")
        return ModelMetadata(model, ("1",), "test", tuple(self.signature[0]), tuple(self.signature[1]), self.label)

    def models(self) -> Sequence[str]:
        return (self.model,)

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        del model, version
        return True

    async def bundle_file(self, model: str, file: str) -> bytes:
        if model != self.model or file not in self.files:
            raise NotFound(f"no file {file!r} of {model!r}")
        return self.files[file]

    def _answer(self, request: InferRequest, reply: Reply) -> None:
        outputs = self.compute({tensor.name: tensor.array for tensor in request.inputs})
        tensors = [Tensor.from_array(name, array) for name, array in outputs.items()]
        reply.put(InferResponse(request.model, tensors, bundle=self.label))
