"""What calls give: frozen values, each with the bundle that answered and the request's id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from penstock.errors import PenstockError
from penstock.tensors import Array


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row's prediction; which of its members are there, the bundle's post-processing says.

    `ages_s`: seconds since the stored values were true, by feature set; None where none were read. `defaulted`: features whose
    default stood in.
    """

    bundle: str
    label: str | None = None
    scores: Mapping[str, float] | None = None
    value: Any = None
    outputs: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    defaulted: Sequence[str] = ()
    ages_s: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row among many that was not predicted, by its number, and why; the others were."""

    row: int
    error: PenstockError


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions of one request's rows, in their order; `record` is the stored record where it was asked for by id."""

    model: str
    bundle: str
    predictions: Sequence[Prediction]
    request_id: str
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Inference:
    """Output tensors by name, of the protocol's dtypes, read-only; strings are object arrays of `str` (`bytes` if not UTF-8)."""

    model: str
    version: str | None
    bundle: str
    outputs: Mapping[str, Array]
    request_id: str
    id: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """The stored features of one record."""

    id: Any
    event_time: datetime
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some records, and the cursor of the next page; None after the last."""

    records: Sequence[Record]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the rows of a CSV. `rejected` names `row`, `line`, `field` and `reason` of the first hundred refused."""

    written: int
    unchanged: int
    refused: int
    rejected: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class AsyncPrediction:
    """A prediction that outlives its caller. `state`: starting, processing, succeeded, failed or canceled.

    `predictions` are there once it has succeeded; `document` is all that the server says of it.
    """

    id: str
    state: str
    model: str
    bundle: str
    predictions: Sequence[Prediction]
    error: str | None
    document: Mapping[str, Any]

    @property
    def done(self) -> bool:
        """Whether the state is its last."""
        return self.state in ("succeeded", "failed", "canceled")


@dataclass(frozen=True, slots=True)
class AsyncPredictionPage:
    """Some predictions, newest first and without their results, and the cursor of the next page; None after the last."""

    predictions: Sequence[AsyncPrediction]
    cursor: str | None
