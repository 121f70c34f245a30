"""Example rows through a whole bundle: what golden.jsonl and profile.json are made of, and what `verify` and `run` compare and
print.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.bundle.manifest import Manifest
from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.encoder import Encoder
from penstock.features.texts import Truncated
from penstock.onnx import Session
from penstock.postprocess import Postprocessor
from penstock.tensors import DATATYPES, Array
from penstock.zero_shot import ZeroShot


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A bundle's parts, ready: encoder (None without features), model, post-processing, and what judges labels, if it does."""

    manifest: Manifest
    encoder: Encoder | None
    session: Session
    postprocessor: Postprocessor
    zero_shot: ZeroShot | None = None


def make_pipeline(manifest: Manifest, encoder: Encoder | None, session: Session) -> Pipeline:
    """The parts put together. Raises InvalidInput naming the part of `postprocess` that does not fit features or model."""
    spec = encoder.spec if encoder is not None else None
    zero_shot = ZeroShot(manifest, spec) if manifest.postprocess.zero_shot is not None else None
    return Pipeline(manifest, encoder, session, Postprocessor(manifest.postprocess, manifest), zero_shot)


@dataclass(frozen=True, slots=True)
class Results:
    """What became of rows, each `[rows, …]` or one a row."""

    columns: dict[str, Column]
    tensors: dict[str, Array]
    outputs: dict[str, Array]
    predictions: list[dict[str, Any]]
    truncated: Truncated


def predict_frame(pipeline: Pipeline, frame: Any, labels: list[str] | None = None) -> list[dict[str, Any]]:
    """Predictions of a data frame's rows as a server gives them, of `labels` where the bundle judges those; where texts are cut,
    each says which of its own were. Raises InvalidInput naming row and feature, or `options.labels`.
    """
    if pipeline.zero_shot is None:
        if labels:
            raise InvalidInput("this model has labels of its own; leave them out", field="options.labels")
        results = run_frame(pipeline, frame)
        return _with_truncated(results.predictions, results.truncated)
    names = list(frame)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(list(frame[name]) for name in names), strict=True)]
    asked = pipeline.zero_shot.ask(rows, {"labels": labels} if labels else None)
    try:
        results = run_frame(pipeline, {name: [row.get(name) for row in asked.rows] for name in _read_names(pipeline)})
    except InvalidInput as error:
        raise asked.restated(error) from None
    for place, prediction in zip(asked.places, asked.predictions(results.outputs), strict=True):
        results.predictions[place].update(prediction)
    return asked.own(_with_truncated(results.predictions, results.truncated))


def _read_names(pipeline: Pipeline) -> list[str]:
    assert pipeline.encoder is not None
    return [feature.feature.name for feature in pipeline.encoder.plan.inputs]


def _with_truncated(predictions: list[dict[str, Any]], truncated: Truncated) -> list[dict[str, Any]]:
    for row, prediction in enumerate(predictions) if truncated else ():
        prediction["truncated"] = [name for name, rows in truncated.items() if rows[row]]
    return predictions


def run_frame(pipeline: Pipeline, frame: Any) -> Results:
    """Encode, run and post-process the rows of a data frame (or mapping of lists). Raises InvalidInput naming row and feature."""
    columns: dict[str, Column] = {}
    truncated: Truncated = {}
    if pipeline.encoder is not None:
        from penstock.features.frames import columns_of

        columns = columns_of(pipeline.encoder.plan.inputs, frame)
        tensors = pipeline.encoder.encode(columns, truncated=truncated)
    else:
        tensors = raw_tensors(pipeline.manifest, frame)
    return run_tensors(pipeline, tensors, columns, truncated)


def run_tensors(
    pipeline: Pipeline, tensors: dict[str, Array], columns: dict[str, Column], truncated: Truncated | None = None
) -> Results:
    """Run and post-process tensors; a model of fixed batch size, or whose rows interact, gets its rows one by one."""
    rows = len(next(iter(tensors.values())))
    if rows == 0:
        return Results(columns, tensors, {}, [], {})
    names = [output.name for output in pipeline.session.outputs]
    together = pipeline.manifest.model.rows_independent is True and all(t.shape[:1] == (-1,) for t in pipeline.session.inputs)
    if together:
        found = pipeline.session.run(tensors)
    else:
        runs = [pipeline.session.run({name: array[i : i + 1] for name, array in tensors.items()}) for i in range(rows)]
        found = [np.concatenate(parts) for parts in zip(*runs, strict=True)]
    outputs = dict(zip(names, found, strict=True))
    return Results(columns, tensors, outputs, pipeline.postprocessor.apply(outputs), truncated or {})


def raw_tensors(manifest: Manifest, frame: Any) -> dict[str, Array]:
    """Tensors of rows that name the model's own inputs: for bundles without features."""
    tensors = {}
    for tensor in manifest.model.inputs:
        if tensor.name not in frame:
            raise InvalidInput("the rows have no such input", field=tensor.name)
        dtype = DATATYPES[tensor.datatype].dtype
        try:
            tensors[tensor.name] = np.array(list(frame[tensor.name]), dtype)
        except (TypeError, ValueError):
            raise InvalidInput(
                f"expected {tensor.datatype} values of shape {list(tensor.shape[1:])} a row", field=tensor.name
            ) from None
    return tensors
