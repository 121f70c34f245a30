"""Verifying a bundle: digests first, then each golden example part by part, as the pods would.

    row -> tensors (encoder)    tensors -> outputs (model)    outputs -> prediction (post-processing)

Each part starts from what golden.jsonl says, not from the part before it, so that a fault is found where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from penstock.bundle.golden import GOLDEN, Golden, first_difference, read_golden, same_prediction, stack
from penstock.bundle.reading import Bundle, open_bundle
from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.encoder import Encoder
from penstock.features.frames import columns_of
from penstock.features.value import NUMPY_KINDS
from penstock.onnx import SessionSettings, load
from penstock.tensors import DATATYPES, Array
from penstock_cli.bundle.examples import Pipeline, make_pipeline, run_tensors
from penstock_cli.bundle.fitting_model import check_tensors


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked: the bundle, and how many golden rows went through."""

    bundle: Bundle
    golden_rows: int


def verify(directory: Path, *, say: Callable[[str], None] = lambda _: None) -> Verified:
    """Check digests, the encoder against its spec, and every golden example. Raises InvalidInput naming the file, line and tensor
    at fault.
    """
    bundle = open_bundle(directory, progress=lambda name: say(f"digest of {name}"))
    pipeline = open_pipeline(bundle)
    if bundle.features is not None:
        check_tensors(bundle.features, pipeline.session.inputs)
    examples = read_golden(bundle.read(GOLDEN)) if GOLDEN in bundle.files else []
    if examples:
        say(f"{len(examples)} golden rows")
        _check_examples(pipeline, examples)
        if bundle.manifest.fused is not None and pipeline.encoder is not None:
            _check_fused(directory / bundle.manifest.fused, pipeline, examples)
    return Verified(bundle, len(examples))


def open_pipeline(bundle: Bundle) -> Pipeline:
    """A bundle's parts, loaded. Raises InvalidInput for a model or encoder that does not load."""
    encoder = None
    if bundle.encoder is not None and bundle.features is not None:
        encoder = Encoder(bundle.encoder, bundle.features, files=bundle.files)
    session = load(bundle.model_path, SessionSettings(device="cpu"))
    return make_pipeline(bundle.manifest, encoder, session)


def _check_examples(pipeline: Pipeline, examples: list[Golden]) -> None:
    inputs = {tensor.name: DATATYPES[tensor.datatype].dtype for tensor in pipeline.session.inputs}
    tensors = stack([example.tensors for example in examples], inputs)
    outputs = stack(
        [example.outputs for example in examples], {t.name: DATATYPES[t.datatype].dtype for t in pipeline.session.outputs}
    )
    if pipeline.encoder is not None:
        _check_encoder(pipeline.encoder, examples, tensors)
    results = run_tensors(pipeline, tensors, {})
    for name, expected in outputs.items():
        _compare(examples, f"outputs.{name}", expected, results.outputs[name], "the model gives")
    predictions = pipeline.postprocessor.apply(outputs)
    for example, prediction in zip(examples, predictions, strict=True):
        if example.prediction is not None and not same_prediction(example.prediction, prediction):
            raise InvalidInput(
                f"post-processing gives {prediction}, golden.jsonl has {example.prediction}",
                field=f"{GOLDEN} line {example.line}: prediction",
            )


def _check_encoder(encoder: Encoder, examples: list[Golden], tensors: dict[str, Array]) -> None:
    made = encoder.encode(_columns(encoder, examples))
    for tensor in encoder.plan.tensors:
        expected = tensors[tensor.name].astype(NUMPY_KINDS[tensor.kind])
        _compare(examples, f"tensors.{tensor.name}", expected, made[tensor.name], "the encoder gives")


def _check_fused(path: Path, pipeline: Pipeline, examples: list[Golden]) -> None:
    """The fused graph gives from raw rows, one by one, what golden.jsonl says that the model gave."""
    assert pipeline.encoder is not None
    session = load(path, SessionSettings(device="cpu"))
    feeds = pipeline.encoder.feeds(_columns(pipeline.encoder, examples))
    runs = [session.run({name: array[row : row + 1] for name, array in feeds.items()}) for row in range(len(examples))]
    # Outputs are in the model's order; one whose name a feature has goes by another.
    for tensor, parts in zip(pipeline.session.outputs, zip(*runs, strict=True), strict=True):
        expected = stack([example.outputs for example in examples], {tensor.name: DATATYPES[tensor.datatype].dtype})[tensor.name]
        _compare(examples, f"outputs.{tensor.name}", expected, np.concatenate(parts), f"{path.name} gives")


def _columns(encoder: Encoder, examples: list[Golden]) -> dict[str, Column]:
    names = [feature.feature.name for feature in encoder.plan.inputs]
    frame: dict[str, Any] = {name: [example.row.get(name) for example in examples] for name in names}
    return columns_of(encoder.plan.inputs, frame)


def _compare(examples: list[Golden], what: str, expected: Array, got: Array, who: str) -> None:
    row = first_difference(expected, got)
    if row is not None:
        field = f"{GOLDEN} line {examples[row].line}: {what}"
        raise InvalidInput(f"{who} {_short(got, row)}, golden.jsonl has {_short(expected, row)}", field=field)


def _short(array: Array, row: int) -> str:
    text = str(array[row].tolist()) if row < len(array) else "nothing"
    return text if len(text) <= 200 else f"{text[:197]}..."
