"""A bundle's share of a batch: its callers' works from admission to answers, without any I/O.

    works -> admit -> Gathering (reads) -> resolve -> [encode] -> checked -> [call] -> answer

What is wrong with one caller's rows fails that caller here and drops its rows; the others never notice. Row numbers in errors
are the caller's own.
"""

import re
import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.columns import Column
from penstock.errors import InvalidInput, NotFound, PenstockError
from penstock.features.texts import Truncated
from penstock.tensors import Array
from penstock_transformer.active import ActiveBundle
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.gathering import Gathered, Gathering
from penstock_transformer.keys import key_from_text
from penstock_transformer.plan import FetchPlan
from penstock_transformer.prediction_data import add_data, add_truncated, json_values
from penstock_transformer.requests import PredictResponse, Row
from penstock_transformer.resolution import Resolved, resolve
from penstock_transformer.row_source import RowSource, check_names
from penstock_transformer.store.port import SetRead
from penstock_transformer.store_counters import StoreCounters
from penstock_transformer.work import PredictWork

_ROW = re.compile(r"rows\[(\d+)\]")


class Group:
    """The works of a batch that go to one bundle with features. `bounds`: where each work's rows begin, and the total at the
    end. `sums`, None for none, counts it; the batch began at `began_s`. Once it has answered: `predictions`, one a row (none if
    all wanted tensors only), `now_s` the clock that ages were judged by."""

    __slots__ = (
        "began_s",
        "bounds",
        "bundle",
        "degraded",
        "gathered",
        "gathering",
        "now_s",
        "parts",
        "plan",
        "predictions",
        "reads",
        "resolved",
        "sums",
        "truncated",
        "works",
    )

    def __init__(
        self, bundle: ActiveBundle, works: Sequence[PredictWork], sums: Sums | None = None, began_s: float = 0.0
    ) -> None:
        assert bundle.plan is not None
        self.bundle = bundle
        self.sums = sums
        self.began_s = began_s
        self.plan: FetchPlan = bundle.plan
        self.works: list[PredictWork] = []
        self.parts: list[list[Row] | dict[str, Array]] = []
        self.bounds: list[int] = [0]
        self.gathering: Gathering | None = None
        self.gathered: Gathered | None = None
        self.resolved: Resolved | None = None
        self.reads: list[SetRead] = []
        self.degraded = False
        self.truncated: Truncated = {}
        self.now_s = 0.0
        self.predictions: list[dict[str, Any]] = []
        self._admit(works)

    @property
    def rows(self) -> int:
        return self.bounds[-1]

    def begin(self) -> None:
        """Make the first reads; works whose rows are not of the features' types or keys are failed."""
        if not self.works:
            return
        try:
            self._gather()
        except InvalidInput as error:
            if len(self.works) == 1:
                self._drop({0: error})
                return
            self._drop(self._faults_alone())
            if self.works:
                self._gather()

    def resolve(self, counters: StoreCounters) -> None:
        """Apply the missing policies; works with refused rows, or records that are not there, are failed."""
        assert self.gathered is not None
        faults: dict[int, PenstockError] = {}
        found = self.gathered.found
        if found is not None and not found.all():
            for at, work in enumerate(self.works):
                if work.request.record_id is not None and not found[self.bounds[at]]:
                    faults[at] = NotFound(f"there is no record {work.request.record_id[:200]!r}", field="record")
        self.now_s = time.time()
        resolved = resolve(self.plan, self.gathered, self.now_s, counters)
        counters.resolved(self.rows, resolved.ages)
        assert self.gathering is not None
        for row, feature in resolved.lacking.items():
            resolved.refused[row] = self.gathering.unknown_record(feature, row) or resolved.refused[row]
        self._own_faults(resolved.refused, faults)
        self.resolved = resolved
        if faults:
            self._leave_out(faults)

    def checked(self, tensors: dict[str, Array]) -> dict[str, Array]:
        """The encoder's tensors without the rows of works that an encoding made NaN of; those works are failed."""
        assert self.resolved is not None
        assert self.bundle.check is not None
        refused = self.bundle.check.faults(tensors, self.resolved.columns)
        if not refused:
            return tensors
        faults: dict[int, PenstockError] = {}
        self._own_faults(refused, faults)
        keep = self._leave_out(faults)
        return {name: array[keep] for name, array in tensors.items()}

    def answer(self, outputs: dict[str, Array]) -> None:
        """Answer every work with its own rows of the outputs."""
        assert self.resolved is not None
        predictions: list[dict[str, Any]] = []
        if not all(w.tensors_only for w in self.works):
            predictions = self._predict(outputs)
            with_data = not all(w.tensors_only or w.without_data for w in self.works)
            add_data(predictions, self.plan, self.resolved, with_data=with_data, degraded=self.degraded)
            if self.truncated:
                add_truncated(predictions, self.truncated)
            self.predictions = predictions
        label, version = self.bundle.label, self.bundle.version
        by_record = [start for work, start in zip(self.works, self.bounds, strict=False) if work.request.record_id is not None]
        records = dict(zip(by_record, self._records(by_record), strict=True)) if by_record else {}
        start = 0
        for work, stop in zip(self.works, self.bounds[1:], strict=True):
            request = work.request
            mine = [] if work.tensors_only else predictions[start:stop]
            if work.asked is not None and not work.tensors_only:
                mine = work.asked.own(mine)
            if work.without_data:
                for prediction in mine:
                    prediction.pop("data", None)
            rows = slice(start, stop)
            answer = PredictResponse(
                request.model, label, mine, outputs, version=version, record=records.get(start), rows=rows, degraded=self.degraded
            )
            work.put(answer)
            start = stop

    def _predict(self, outputs: dict[str, Array]) -> list[dict[str, Any]]:
        """A prediction for every row that was run; what was asked about labels is where each of the caller's rows begins."""
        predictions = self.bundle.postprocessor.apply(outputs)
        if self.bundle.zero_shot is None:
            return predictions
        for work, start, stop in zip(self.works, self.bounds, self.bounds[1:], strict=False):
            if work.asked is not None:
                made = work.asked.predictions({name: array[start:stop] for name, array in outputs.items()})
                for place, prediction in zip(work.asked.places, made, strict=True):
                    predictions[start + place] = prediction
        return predictions

    def degrade(self, error: PenstockError) -> None:
        """Go on without the store, of which every value is missing. Works that rest on a record fail."""
        if self.gathering is not None and self.gathering.needs_record:
            alone = [self._of([part], [work]) for part, work in zip(self.parts, self.works, strict=True)]
            self._drop({at: error for at, gathering in enumerate(alone) if gathering.needs_record})
            if not self.works:
                return
            self._gather()
        assert self.gathering is not None
        self.gathered = self.gathering.without_store()
        self.degraded = True

    def fail(self, error: PenstockError) -> None:
        """Fail every work that still waits."""
        error.bundle = self.bundle.label
        for work in self.works:
            work.error(error)

    def _admit(self, works: Sequence[PredictWork]) -> None:
        accepted = self.plan.accepted
        for work in works:
            try:
                request = work.request
                if work.asked is not None:
                    # Admitted before, to this bundle or another: back to its own rows.
                    work.rows, work.asked = work.asked.count, None
                if request.record_id is not None:
                    self.parts.append([self._record_row(request.record_id)])
                elif request.rows is not None:
                    rows = request.rows
                    if not accepted.issuperset(rows[0] if len(rows) == 1 else set().union(*rows)):
                        for i, row in enumerate(rows):
                            check_names(row, accepted, self.plan.stored_names, f"rows[{i}].")
                    self.parts.append(rows if self.bundle.zero_shot is None and not request.options else self._asked(work, rows))
                else:
                    columns = request.columns or {}
                    check_names(columns, accepted, self.plan.stored_names, "")
                    self._check_lengths(columns, work.rows)
                    judged = self.bundle.zero_shot is not None and not work.tensors_only
                    self.parts.append(self._asked(work, _as_rows(columns)) if judged else columns)
            except PenstockError as error:
                error.bundle = self.bundle.label
                work.error(error)
                continue
            self.works.append(work)
        self._count()

    def _asked(self, work: PredictWork, rows: list[Row]) -> list[Row]:
        """The rows to run: the caller's own, or those spread over the labels that they are to be judged by."""
        zero_shot, options = self.bundle.zero_shot, work.request.options
        if zero_shot is None:
            if options and "labels" in options:
                raise InvalidInput("this model has labels of its own; leave them out", field="options.labels")
            return rows
        work.asked = zero_shot.ask(rows, options)
        work.rows = len(work.asked.rows)
        return work.asked.rows

    def _record_row(self, record_id: str) -> Row:
        record = self.plan.record
        if self.bundle.zero_shot is not None:
            raise InvalidInput("a model of candidate labels answers rows, not records", field="record")
        if record is None:
            raise NotFound(f"{self.bundle.manifest.name} has no records: its features.yaml names no `record`")
        if len(record.key_columns) != 1:
            raise NotFound(f"records of {self.bundle.manifest.name} have a key of several parts: {', '.join(record.key_columns)}")
        return {record.key_columns[0]: key_from_text(record_id, record.key_types[0], "record")}

    def _check_lengths(self, columns: dict[str, Array], rows: int) -> None:
        for name, array in columns.items():
            if len(array) != rows:
                raise InvalidInput(f"expected {rows} rows, as the longest column has, got {len(array)}", field=name)

    def _count(self) -> None:
        self.bounds = [0, *accumulate(w.rows for w in self.works)]

    def _gather(self) -> None:
        self.gathering = self._of(self.parts, self.works)
        self.reads = self.gathering.first()

    def _of(self, parts: Sequence[list[Row] | dict[str, Array]], works: Sequence[PredictWork]) -> Gathering:
        whole = any(w.request.record_id is not None for w in works)
        return Gathering(self.plan, RowSource(parts, [w.rows for w in works]), time.time(), whole_record=whole)

    def _faults_alone(self) -> dict[int, PenstockError]:
        faults: dict[int, PenstockError] = {}
        for at, work in enumerate(self.works):
            try:
                self._of([self.parts[at]], [work]).first()
            except InvalidInput as error:
                faults[at] = error
        return faults

    def _own_faults(self, refused: dict[int, InvalidInput], faults: dict[int, PenstockError]) -> None:
        """Add the first refused row of each work to `faults` as the work's own, unless it has one."""
        for row, error in sorted(refused.items()):
            at = int(np.searchsorted(self.bounds, row, side="right")) - 1
            field = _ROW.sub(f"rows[{row - self.bounds[at]}]", error.field or "")
            faults.setdefault(at, InvalidInput(error.message, field=field))

    def _leave_out(self, faults: dict[int, PenstockError]) -> npt.NDArray[np.bool_]:
        """Fail these works and go on without their rows; which rows stay, of those there were."""
        assert self.resolved is not None
        keep = np.ones(self.rows, np.bool_)
        for at in faults:
            keep[self.bounds[at] : self.bounds[at + 1]] = False
        self._drop(faults)
        self.resolved = self.resolved.kept(keep)
        self.truncated = {name: rows[keep] for name, rows in self.truncated.items()}
        self.gathered = self.gathered.kept(keep) if self.gathered is not None and self.works else None
        return keep

    def _drop(self, faults: dict[int, PenstockError]) -> None:
        for at, error in faults.items():
            error.bundle = self.bundle.label
            self.works[at].error(error)
        self.parts = [p for at, p in enumerate(self.parts) if at not in faults]
        self.works = [w for at, w in enumerate(self.works) if at not in faults]
        self._count()

    def _records(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The stored records of these rows: join keys, then columns. A column at a time, since a batch holds many records."""
        record = self.plan.record
        assert record is not None
        assert self.gathered is not None
        keys = self.gathered.record_keys
        names: list[str] = []
        lists: list[Sequence[Any]] = []
        if keys:
            names.extend(record.join_keys)
            lists.extend(zip(*[keys[row] for row in rows], strict=True))
        for name, column in self.gathered.stored[record.name].columns.items():
            names.append(name)
            lists.append(json_values(Column(column.values[rows], column.missing[rows])))
        # Lists of one length each, by construction; checking that costs a third of this.
        return [dict(zip(names, values)) for values in zip(*lists)]  # noqa: B905


def _as_rows(columns: dict[str, Array]) -> list[Row]:
    """Columns as rows, which labels can be written into."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*(a.tolist() for a in columns.values()), strict=True)]
