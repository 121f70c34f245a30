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
from penstock.onnx import Session
from penstock.postprocess import Postprocessor
from penstock.tensors import DATATYPES, Array


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A bundle's parts, ready: encoder (None without features), model, post-processing."""

    manifest: Manifest
    encoder: Encoder | None
    session: Session
    postprocessor: Postprocessor


@dataclass(frozen=True, slots=True)
class Results:
    """What became of rows, each `[rows, …]` or one a row."""

    columns: dict[str, Column]
    tensors: dict[str, Array]
    outputs: dict[str, Array]
    predictions: list[dict[str, Any]]


def run_frame(pipeline: Pipeline, frame: Any) -> Results:
    """Encode, run and post-process the rows of a data frame (or mapping of lists). Raises InvalidInput naming row and feature."""
    columns: dict[str, Column] = {}
    if pipeline.encoder is not None:
        from penstock.features.frames import columns_of

        columns = columns_of(pipeline.encoder.plan.inputs, frame)
        tensors = pipeline.encoder.encode(columns)
    else:
        tensors = raw_tensors(pipeline.manifest, frame)
    return run_tensors(pipeline, tensors, columns)


def run_tensors(pipeline: Pipeline, tensors: dict[str, Array], columns: dict[str, Column]) -> Results:
    """Run and post-process tensors; a model of fixed batch size, or whose rows interact, gets its rows one by one."""
    rows = len(next(iter(tensors.values())))
    if rows == 0:
        return Results(columns, tensors, {}, [])
    names = [output.name for output in pipeline.session.outputs]
    together = pipeline.manifest.model.rows_independent is True and all(t.shape[:1] == (-1,) for t in pipeline.session.inputs)
    if together:
        found = pipeline.session.run(tensors)
    else:
        runs = [pipeline.session.run({name: array[i : i + 1] for name, array in tensors.items()}) for i in range(rows)]
        found = [np.concatenate(parts) for parts in zip(*runs, strict=True)]
    outputs = dict(zip(names, found, strict=True))
    return Results(columns, tensors, outputs, pipeline.postprocessor.apply(outputs))


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
