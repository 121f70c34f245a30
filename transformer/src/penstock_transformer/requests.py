"""A prediction request and its answer, whichever way they travel: rows of raw features in, predictions out.

POST predict, GET /predict/{id}, v1, v2, CSV, images --(PredictRequest, PredictReply)--> Transformer.predict --> PredictReply
"""

from typing import Any, Protocol

from penstock.dataplane import Context
from penstock.errors import PenstockError
from penstock.tensors import Array

Row = dict[str, Any]


class PredictRequest:
    """One caller's rows. Exactly one of `rows` (dicts of feature or key to value) and `columns` (arrays `[n]`) is given.

    `record_id` is set for `GET /predict/{id}`: the one row is found through the spec's record, and answered with it.
    `options`: `data` False leaves the data out of the answer; `labels` are what a zero-shot bundle judges the rows by.
    """

    __slots__ = ("columns", "context", "model", "options", "record_id", "rows", "version")

    def __init__(
        self,
        model: str,
        context: Context,
        *,
        rows: list[Row] | None = None,
        columns: dict[str, Array] | None = None,
        options: dict[str, Any] | None = None,
        record_id: str | None = None,
        version: str | None = None,
    ) -> None:
        self.model = model
        self.context = context
        self.rows = rows
        self.columns = columns
        self.options = options
        self.record_id = record_id
        self.version = version


class PredictResponse:
    """`predictions` are JSON-ready dicts, one a row, in the order sent: label, scores, value, data, defaulted, ages_s.

    `outputs` holds the model's own outputs for these rows (name to array), for callers who speak tensors; given with `rows` it is
    the whole batch's, and the caller's own part is cut out when it is asked for. `record` is the stored record of a
    `GET /predict/{id}`; `degraded`: it was made without the feature store.
    """

    __slots__ = ("_outputs", "_rows", "bundle", "degraded", "model", "predictions", "record", "version")

    def __init__(
        self,
        model: str,
        bundle: str,
        predictions: list[dict[str, Any]],
        outputs: dict[str, Array],
        *,
        version: str | None = None,
        record: dict[str, Any] | None = None,
        rows: slice | None = None,
        degraded: bool = False,
    ) -> None:
        self.model = model
        self.bundle = bundle
        self.degraded = degraded
        self.predictions = predictions
        self._outputs = outputs
        self._rows = rows
        self.version = version
        self.record = record

    @property
    def outputs(self) -> dict[str, Array]:
        """The model's outputs for these rows alone."""
        rows = self._rows
        return self._outputs if rows is None else {name: array[rows] for name, array in self._outputs.items()}


class PredictReply(Protocol):
    """Where one answer goes: like `penstock.dataplane.Reply`, for predictions."""

    @property
    def disconnected(self) -> bool: ...

    def put(self, response: PredictResponse) -> None: ...

    def error(self, error: PenstockError) -> None: ...
