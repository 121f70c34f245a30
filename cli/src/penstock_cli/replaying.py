"""Predictions made again from a log: the logged rows, with what was fetched for them then, through any bundle.

    LogRow, … of one request --Gathering, resolve, encode, model, post-processing--> answers --compare--> what differs

The steps are the transformer's own code, with the log in the feature store's place and the log's clock for ages; so a row that
comes out otherwise was made by other bytes: another bundle, another release, other arithmetic of the processor.

Invariant: what is compared is what was logged, field by field, in the order of the answer; nothing is rounded before.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from penstock.bundle.golden import same_prediction
from penstock.bundle.manifest import Manifest
from penstock.dataplane import Context
from penstock.errors import InvalidInput, PenstockError
from penstock.features.encoder import Encoder
from penstock.features.spec import StoreLayout
from penstock.features.texts import Truncated
from penstock.tensors import Array
from penstock_cli.bundle.examples import Pipeline, run_tensors
from penstock_cli.replay_store import ReplayStore, value_of
from penstock_transformer.encoded import EncodedCheck
from penstock_transformer.feedback.document import answer_of
from penstock_transformer.feedback.row import LogRow
from penstock_transformer.gathering import Gathered, Gathering
from penstock_transformer.plain import plain_tensors
from penstock_transformer.plan import FetchPlan, plan_of
from penstock_transformer.prediction_data import add_data, add_truncated
from penstock_transformer.requests import PredictRequest, Row
from penstock_transformer.resolution import resolve
from penstock_transformer.row_source import RowSource, check_names


class Replayer:
    """Makes the predictions of one bundle again. Raises InvalidInput from the constructor for one that judges labels."""

    def __init__(self, pipeline: Pipeline) -> None:
        if pipeline.zero_shot is not None:
            raise InvalidInput("predictions of a zero-shot bundle are not logged, and cannot be replayed")
        self._pipeline = pipeline
        self._plan: FetchPlan | None = None if pipeline.encoder is None else plan_of(pipeline.encoder.spec)

    def answers(self, rows: list[LogRow]) -> list[dict[str, Any]]:
        """What the bundle answers to one request's rows now. Raises PenstockError for rows that it refuses."""
        plan, encoder = self._plan, self._pipeline.encoder
        if plan is None or encoder is None:
            return self._plain(rows)
        return self._encoded(rows, plan, encoder)

    def _plain(self, rows: list[LogRow]) -> list[dict[str, Any]]:
        manifest: Manifest = self._pipeline.manifest
        request = PredictRequest(rows[0].model, Context(rows[0].id), rows=[row.sent() for row in rows])
        tensors = plain_tensors(manifest, request, len(rows))
        return [answer_of(prediction) for prediction in run_tensors(self._pipeline, tensors, {}).predictions]

    def _encoded(self, rows: list[LogRow], plan: FetchPlan, encoder: Encoder) -> list[dict[str, Any]]:
        sent = [_typed(row.sent(), plan) for row in rows]
        for at, row in enumerate(sent):
            check_names(row, plan.accepted, plan.stored_names, f"rows[{at}].")
        gathered = _gather(plan, rows, sent)
        resolved = resolve(plan, gathered, rows[0].clock)
        _refuse(resolved.refused)
        truncated: Truncated = {}
        tensors: dict[str, Array] = encoder.encode(resolved.columns, checked=True, truncated=truncated)
        _refuse(EncodedCheck(encoder.plan).faults(tensors, resolved.columns))
        predictions = run_tensors(self._pipeline, tensors, resolved.columns, truncated).predictions
        add_data(predictions, plan, resolved, with_data=False, degraded=False)
        if truncated:
            add_truncated(predictions, truncated)
        return [answer_of(prediction) for prediction in predictions]


def _gather(plan: FetchPlan, rows: list[LogRow], sent: list[Row]) -> Gathered:
    gathering = Gathering(plan, RowSource([sent], [len(rows)]), rows[0].clock)
    if rows[0].degraded:
        # Nothing was read then.
        if gathering.needs_record:
            raise InvalidInput("the feature store could not be read when this was answered, and this bundle needs the record")
        return gathering.without_store()
    store = ReplayStore(plan.layout or StoreLayout("", 3, {}), [row.stored() for row in rows])
    return gathering.finish(store.read(gathering.second(store.read(gathering.first()))))


def _typed(row: Row, plan: FetchPlan) -> Row:
    return {name: value_of(value, plan.column_types.get(name, "")) for name, value in row.items()}


def _refuse(faults: dict[int, InvalidInput]) -> None:
    if faults:
        raise faults[min(faults)]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first field in which a row came out otherwise; `rounding`: the whole answer is equal but for rounding."""

    id: str
    row: int
    field: str
    logged: Any
    got: Any
    rounding: bool

    def __str__(self) -> str:
        how = " (rounding)" if self.rounding else ""
        return f"{self.id} row {self.row}: {self.field}: logged {self.logged!r}, got {self.got!r}{how}"


@dataclass(slots=True)
class Report:
    """What a replay found. `equal` rows came out bit for bit; `refused` are rows that the bundle would not predict, by why."""

    rows: int = 0
    equal: int = 0
    rounded: int = 0
    first: Difference | None = None
    labels: int = 0
    labels_agree: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    numbers: int = 0
    difference_sum: float = 0.0
    largest: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)

    @property
    def differing(self) -> int:
        """Rows whose answer is another, beyond rounding."""
        return self.rows - self.equal - self.rounded

    @property
    def agreement(self) -> float | None:
        """The share of labels that are the same; without labels, of numbers that are, up to rounding. None without rows."""
        if self.labels:
            return self.labels_agree / self.labels
        return (self.equal + self.rounded) / self.rows if self.rows else None

    @property
    def mean_difference(self) -> float | None:
        """The mean distance of scores and values."""
        return self.difference_sum / self.numbers if self.numbers else None

    def refuse(self, error: PenstockError, rows: int) -> None:
        """Count rows that the bundle would not predict."""
        reason = f"{error.field}: {error.message}" if error.field else error.message
        self.refused[reason] = self.refused.get(reason, 0) + rows

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": self.rows,
            "equal": self.equal,
            "rounded": self.rounded,
            "differing": self.differing,
            "refused": self.refused,
            "agreement": self.agreement,
            "changedLabels": self.changed,
            "meanDifference": self.mean_difference,
            "largestDifference": self.largest,
            "first": None if self.first is None else str(self.first),
        }


def replay(replayer: Replayer, rows: Iterable[LogRow]) -> Report:
    """Every request of `rows`, as they stand together in the log, against what was logged."""
    report = Report()
    for request in requests_of(rows):
        try:
            answers = replayer.answers(request)
        except PenstockError as error:
            report.refuse(error, len(request))
            continue
        for row, got in zip(request, answers, strict=True):
            compare(report, row, got)
    return report


def requests_of(rows: Iterable[LogRow]) -> Iterator[list[LogRow]]:
    """Rows of one request together."""
    for _, request in groupby(rows, key=lambda row: (row.id, row.clock, row.bundle, row.shadow)):
        yield list(request)


def compare(report: Report, row: LogRow, got: dict[str, Any]) -> None:
    """Add one row to the report."""
    logged = row.answered()
    # Whoever asked for tensors was told nothing of defaults.
    got = {name: value for name, value in got.items() if name in logged or name not in ("defaulted", "truncated")}
    report.rows += 1
    _compare_numbers(report, logged, got)
    found = first_difference(logged, got)
    if found is None:
        report.equal += 1
        return
    rounding = same_prediction(logged, got)
    report.rounded += rounding
    if report.first is None or (report.first.rounding and not rounding):
        report.first = Difference(row.id, row.row, *found, rounding)


def _compare_numbers(report: Report, logged: dict[str, Any], got: dict[str, Any]) -> None:
    if "label" in logged:
        report.labels += 1
        report.labels_agree += logged["label"] == got.get("label")
        if logged["label"] != got.get("label"):
            change = f"{logged['label']} -> {got.get('label')}"
            report.changed[change] = report.changed.get(change, 0) + 1
    for before, after in _pairs(logged, got):
        distance = abs(before - after)
        report.numbers += 1
        report.difference_sum += distance
        report.largest = max(report.largest, distance)


def _pairs(logged: dict[str, Any], got: dict[str, Any]) -> Iterator[tuple[float, float]]:
    one, other = logged.get("scores") or {}, got.get("scores") or {}
    for name, before in one.items():
        if before is not None and other.get(name) is not None:
            yield before, other[name]
    before, after = logged.get("value"), got.get("value")
    if isinstance(before, float | int) and isinstance(after, float | int):
        yield float(before), float(after)


def first_difference(logged: Any, got: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """The first field that differs, in the log's order, and both sides of it; None where all is the same to the bit."""
    if isinstance(logged, dict) and isinstance(got, dict):
        for name in dict.fromkeys((*logged, *got)):
            inner = f"{where}.{name}" if where else name
            if name not in logged or name not in got:
                return inner, logged.get(name), got.get(name)
            found = first_difference(logged[name], got[name], inner)
            if found is not None:
                return found
        return None
    if isinstance(logged, list) and isinstance(got, list) and len(logged) == len(got):
        for at, (one, other) in enumerate(zip(logged, got, strict=True)):
            found = first_difference(one, other, f"{where}[{at}]")
            if found is not None:
                return found
        return None
    same = type(logged) is type(got) or (isinstance(logged, int | float) and isinstance(got, int | float))
    if same and logged == got and not (isinstance(logged, float) and math.copysign(1.0, logged) != math.copysign(1.0, got)):
        return None
    return where, logged, got
