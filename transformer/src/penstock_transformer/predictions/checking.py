"""What can be said of a request before it is kept: names and types of its values, by the bundle that answers now.

    rows | tensors --FetchPlan or ModelMetadata--> fine | InvalidInput naming the field

Whoever hands a request in has gone when it is predicted: what is wrong with it is better said at once. A request that passes
may still fail: stored values, pictures and the bundle that answers then are not known yet.

Invariant: nothing is refused here that the pipeline, with the same bundle, would take.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.dataplane import InferRequest, ModelMetadata
from penstock.errors import InvalidInput
from penstock_transformer.keys import entity_keys
from penstock_transformer.plan import FetchPlan
from penstock_transformer.requests import Row
from penstock_transformer.row_source import RowSource, check_names
from penstock_transformer.tensor_reply import columns_of

# So many rows are looked at value by value, which for few costs a tenth of what columns of them do.
_FEW_ROWS = 32
# Numbers up to these are surely of their type; larger ones are left to whoever knows exactly.
_SURELY = {"float32": 3e38, "float64": 1e308, "int32": 2**31 - 1, "int64": 2**63 - 1, "timestamp": 6e10}


def check_rows(rows: list[Row], plan: FetchPlan | None, metadata: ModelMetadata | None) -> None:
    """Raises InvalidInput, field `rows[i].name`, for a name or a value that the bundle does not take. `metadata` is needed where
    there is no plan."""
    if plan is None:
        assert metadata is not None
        accepted = frozenset(one.name for one in metadata.inputs)
        for at, row in enumerate(rows):
            check_names(row, accepted, {}, f"rows[{at}].")
            for one in metadata.inputs:
                if row.get(one.name) is None:
                    raise InvalidInput(f"missing; expected {one.datatype}", field=f"rows[{at}].{one.name}")
        return
    for at, row in enumerate(rows):
        if not row.keys() <= plan.accepted:
            check_names(row, plan.accepted, plan.stored_names, f"rows[{at}].")
    if rows and not (len(rows) <= _FEW_ROWS and _plainly_fine(rows, plan)):
        _check_values(RowSource([rows], [len(rows)]), plan)


def check_tensors(request: InferRequest, plan: FetchPlan | None, metadata: ModelMetadata | None) -> None:
    """Raises InvalidInput naming the input that the model does not take, or the row of a value."""
    encoded: Any = (request.parameters or {}).get("encoded", False)
    if type(encoded) is not bool:
        raise InvalidInput(f"expected true or false, got {encoded!r:.80}", field="parameters.encoded")
    if plan is None:
        assert metadata is not None
        _check_inputs(request, metadata)
    elif not encoded:
        columns = columns_of(request, plan)
        check_names(columns, plan.accepted, plan.stored_names, "")
        lengths = {name: len(array) for name, array in columns.items()}
        if len(set(lengths.values())) > 1:
            name = min(lengths, key=lengths.__getitem__)
            raise InvalidInput(f"expected {max(lengths.values())} rows, as the longest has, got {lengths[name]}", field=name)
        if columns and max(lengths.values()):
            _check_values(RowSource([columns], [max(lengths.values())]), plan)


def rows_of(request: InferRequest) -> int:
    """How many rows a request of tensors has: the size of the first axis."""
    return request.inputs[0].shape[0] if request.inputs and request.inputs[0].shape else 1


def _plainly_fine(rows: list[Row], plan: FetchPlan) -> bool:
    """Whether all values are there, or may be missing, and are plainly of their types; False says that somebody must look."""
    record_keys = plan.record.key_columns if plan.record is not None else ()
    for row in rows:
        fills = plan.fills if all(row.get(column) is not None for column in record_keys) else ()
        for feature in plan.requested:
            value = row.get(feature.column)
            if value is None:
                if feature.missing.policy == "reject" and feature.column not in fills:
                    return False
            elif not _is_plain(value, feature.type):
                return False
        for one in plan.sets:
            for column, kind in zip(one.key_columns, one.key_types, strict=True):
                value = row.get(column)
                if value is not None and not _is_plain(value, kind):
                    return False
    return True


def _is_plain(value: Any, kind: str) -> bool:
    given = type(value)
    if given is str:
        return kind == "string" and value.isascii() and "\0" not in value
    if given is float:
        return kind in ("float32", "float64", "timestamp") and abs(value) <= _SURELY[kind]
    if given is int:
        return kind in _SURELY and abs(value) <= _SURELY[kind]
    return given is bool and kind == "bool"


def _check_values(source: RowSource, plan: FetchPlan) -> None:
    unknown = _without_record(source, plan)
    for feature in plan.requested:
        missing = source.column(feature).missing
        if feature.column in plan.fills:
            missing = missing & unknown
        if feature.missing.policy == "reject" and missing.any():
            row = int(missing.argmax())
            raise InvalidInput(f"missing; expected a value of type {feature.type}", field=f"rows[{row}].{feature.column}")
    for one in plan.sets:
        entity_keys([source.values(column) for column in one.key_columns], one.key_columns, one.key_types)


def _without_record(source: RowSource, plan: FetchPlan) -> npt.NDArray[np.bool_]:
    """Bool `[rows]`: whether a row names no record, so that nothing can be filled in for it."""
    unknown = np.zeros(source.count, np.bool_)
    for column in plan.record.key_columns if plan.record is not None else ():
        unknown |= np.fromiter((value is None for value in source.values(column)), np.bool_, source.count)
    return unknown


def _check_inputs(request: InferRequest, metadata: ModelMetadata) -> None:
    known = {one.name: one for one in metadata.inputs}
    for at, tensor in enumerate(request.inputs):
        wanted = known.pop(tensor.name, None)
        if wanted is None:
            names = ", ".join(one.name for one in metadata.inputs)
            raise InvalidInput(f"expected each of {names} once, got {tensor.name!r:.200}", field=f"inputs[{at}].name")
        if tensor.datatype != wanted.datatype:
            raise InvalidInput(f"expected {wanted.datatype}, got {tensor.datatype}", field=f"inputs[{at}].datatype")
    for name in known:
        raise InvalidInput(f"missing; expected the input {name}", field="inputs")
