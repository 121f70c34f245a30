"""The encoder at work: columns of raw features in, the model's tensors out, by the compiled graph.

    rows -> column_of -> {feature: Column} -> Encoder.encode -> {tensor: array} -> predictor

Images are decoded and texts taken apart first. Defaults are applied inside the graph, those of such texts before it; a row that
lacks a value which its feature must have is refused here, before the graph, by row and name. The graph never runs on 0 rows.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from penstock.columns import FEATURE_DTYPES, Column
from penstock.errors import InvalidInput
from penstock.features.definition import pad_list
from penstock.features.frames import columns_of
from penstock.features.images import Decoding, decode_images, refuse_pixels
from penstock.features.plan import LENGTH_SUFFIX, FeaturePlan, Plan, plan
from penstock.features.spec import FeatureSpec
from penstock.features.texts import TextSteps, Truncated
from penstock.features.value import NUMPY_KINDS
from penstock.features.values import column_of
from penstock.tensors import Array

Run = Callable[[dict[str, Array]], list[Array]]


class Encoder:
    """A feature spec ready to run. `encode` may be called from any one thread at a time, or from several: it keeps no state."""

    def __init__(
        self, model: bytes, spec: FeatureSpec, *, files: Mapping[str, bytes] | None = None, run: Run | None = None
    ) -> None:
        """`model` is encoder.onnx, `files` the files that the spec names (a bundle's own, or `files_beside`). `run` replaces ONNX
        Runtime: feeds to outputs in the graph's order. Raises InvalidInput if the graph is not spec's, or a file is not there.
        """
        self.spec = spec
        self.plan = plan(spec)
        self._run = run if run is not None else _open(model, self.plan)
        graph = self.plan.graph_inputs
        self._special = [f for f in graph if f.is_list or f.image is not None or f.words is not None]
        self._plain = [(f.feature.name, f.mask_input) for f in graph if f not in self._special]
        self._texts = TextSteps(self.plan, files or {})
        self._dtypes = {f.feature.name: FEATURE_DTYPES.get(f.feature.type) for f in self.plan.inputs}
        self._strict = [f.feature.name for f in self.plan.inputs if f.feature.missing.policy == "reject"]

    @classmethod
    def compiled(cls, spec: FeatureSpec, *, files: Mapping[str, bytes] | None = None) -> Self:
        """An encoder straight from a spec, for training code. Needs the package onnx (extra `compile`)."""
        from penstock.features.compiler import compile_encoder

        return cls(compile_encoder(spec), spec, files=files)

    @property
    def texts(self) -> TextSteps:
        """What happens to texts before the graph."""
        return self._texts

    def encode(
        self,
        columns: Mapping[str, Column],
        *,
        checked: bool = False,
        decoding: Decoding | None = None,
        truncated: Truncated | None = None,
    ) -> dict[str, Array]:
        """Tensors `[rows, …]` by the model's names, from a column of equal length for each feature.

        `checked`: the caller made the columns by this spec (all there, of their dtypes, equally long) and has refused missing
        values. `decoding` bounds what images may cost; `truncated` is told which texts were cut. Raises InvalidInput for a
        missing column or value, TooLarge for images and texts.
        """
        if checked:
            rows = len(next(iter(columns.values())).values)
        else:
            rows = self._count(columns)
            refuse_missing(self._strict, columns)
        if rows == 0:
            return {t.name: np.empty((0, *(max(n, 0) for n in t.row_shape)), NUMPY_KINDS[t.kind]) for t in self.plan.tensors}
        outputs = self._run(self.feeds(columns, decoding, truncated))
        return {tensor.name: output for tensor, output in zip(self.plan.tensors, outputs, strict=True)}

    def feeds(
        self, columns: Mapping[str, Column], decoding: Decoding | None = None, truncated: Truncated | None = None
    ) -> dict[str, Array]:
        """The graph's inputs by name, as `encode` gives them to it; a fused graph takes the same. Images are decoded here, and
        texts taken apart.
        """
        feeds: dict[str, Array] = {}
        for name, mask in self._plain:
            column = columns[name]
            feeds[name] = column.values
            if mask is not None:
                feeds[mask] = column.missing
        if decoding is not None:
            names = [f.feature.name for f in self._special if f.image is not None]
            images = {name: columns[name].values for name in names if columns[name].values.dtype == object}
            refuse_pixels(images, decoding.max_pixels)
        for feature in self._special:
            feeds |= self._special_feeds(feature, columns, decoding)
        return feeds | self._texts.feeds(columns, truncated) if self._texts.tokenised else feeds

    def _special_feeds(self, feature: FeaturePlan, columns: Mapping[str, Column], decoding: Decoding | None) -> dict[str, Array]:
        name = feature.feature.name
        if feature.words is not None:
            return self._texts.words(feature, columns[name])
        column = columns[name]
        if feature.image is not None:
            pixels = column.values
            if pixels.dtype != object:
                return {name: pixels}
            return {name: decode_images(pixels, feature.image, name, go_on=decoding.go_on if decoding is not None else None)}
        assert feature.feature.length is not None
        lengths = np.fromiter((len(elements) for elements in column.values), np.int64, len(column.values))
        feeds = {name: pad_list(column.values, feature.feature.length, feature.raw.kind), name + LENGTH_SUFFIX: lengths}
        return feeds | ({feature.mask_input: column.missing} if feature.mask_input else {})

    def warm(self, rows: int = 1) -> None:
        """Run once on rows of nothing but stand-ins, so that the first request does not pay for what the runtime sets up."""
        columns = {}
        for feature in self.plan.inputs:
            if feature.image is not None:
                values: Array = np.zeros((rows, *feature.image.pixels), np.uint8)
                columns[feature.feature.name] = Column(values, np.zeros(rows, np.bool_))
            else:
                columns[feature.feature.name] = column_of([None] * rows, feature.feature.type, feature.feature.name)
        self.encode(columns, checked=True)

    def encode_frame(self, frame: Any) -> dict[str, Array]:
        """The same from a data frame or a mapping of arrays, with a column named after each feature."""
        return self.encode(columns_of(self.plan.inputs, frame))

    def _count(self, columns: Mapping[str, Column]) -> int:
        rows = -1
        for name, dtype in self._dtypes.items():
            column = columns.get(name)
            if column is None:
                raise InvalidInput("no column is given for this feature", field=name)
            if rows not in (-1, len(column.values)):
                raise InvalidInput(f"expected {rows} rows as in the other columns, got {len(column.values)}", field=name)
            if dtype is not None and column.values.dtype != dtype and self.plan.features[name].image is None:
                raise InvalidInput(f"expected a column of {dtype}, got {column.values.dtype}", field=name)
            rows = len(column.values)
        return max(rows, 0)


def refuse_missing(names: list[str], columns: Mapping[str, Column]) -> None:
    """Raises InvalidInput, naming the first row and feature, if one of these features has a missing value."""
    for name in names:
        missing = columns[name].missing
        if missing.any():
            raise InvalidInput("is required, and has no value", field=f"rows[{int(missing.argmax())}].{name}")


def _open(model: bytes, plan: Plan) -> Run:
    from penstock.onnx import SessionSettings, load

    # One thread: an encoder's operators are far too small to share out, and the other cores have requests of their own.
    session = load(model, SessionSettings(device="cpu", threads=1))
    given = {tensor.name for tensor in session.inputs}
    sources = {tensor.source for tensor in plan.tensors if tensor.source is not None}
    for name in (*(feature.feature.name for feature in plan.graph_inputs), *sources):
        if name not in given:
            raise InvalidInput(f"the graph has no input {name!r}: it was compiled from another spec", field="encoder.onnx")
    return session.run
