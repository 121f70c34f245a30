"""Whether a model's rows are independent, found out by trying: only then may requests of different callers share a run.

Each row is run by itself and in batches of several sizes, in another order, and beside mates that are zero, huge or NaN; it must
come out the same. Normalisation over the batch, a sort across rows, a global quantisation range, a counter of rows, noise: all of
them show. Equal means equal up to the rounding that another order of summation brings; whatever is above that is another result.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from penstock.errors import PenstockError
from penstock.onnx import Session
from penstock.tensors import Array
from penstock_predictor.axes import BatchRule, Sharing
from penstock_predictor.samples import Row, Samples

log = logging.getLogger(__name__)

# Rounding, relative to the largest value of the row's output: some tens of the type's own precision.
_ROUNDING = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2}
_SIZES = (2, 3, 8, 17)
# Of a batch's tensors: a row may be a film.
_MOST_BYTES = 256 * 1024 * 1024


def examine(session: Session, rule: BatchRule, sets: Sequence[Samples], declared: bool | None) -> BatchRule:
    """The candidate rule if the model keeps to it, else ALONE with what was seen.

    `declared` is the bundle's own word: False is final; True stands where no samples could be made, never against what was seen.
    """
    if rule.sharing is Sharing.ALONE:
        return rule
    if declared is False:
        return BatchRule(Sharing.ALONE, "the bundle says that rows interact")
    if not sets:
        if declared:
            return BatchRule(rule.sharing, "declared by the bundle, not tried: no sample inputs", rule.size)
        return BatchRule(Sharing.ALONE, "no sample inputs were found that the model takes")
    for samples in sets:
        try:
            wrong = (
                _examine_free(session, samples) if rule.sharing is Sharing.FREE else _examine_fixed(session, samples, rule.size)
            )
        except PenstockError as error:
            wrong = f"a batch fails where single rows do not: {error}"
        if wrong:
            return BatchRule(Sharing.ALONE, wrong)
    return BatchRule(rule.sharing, "rows came out the same alone and in batches", rule.size)


def _examine_free(session: Session, samples: Samples) -> str | None:
    singles: dict[int, list[Array]] = {}

    def single(index: int) -> list[Array]:
        index %= len(samples.rows)
        if index not in singles:
            singles[index] = session.run(samples.rows[index])
        return singles[index]

    for indices in _orders(samples.fitting(_MOST_BYTES)):
        outputs = session.run(samples.batch(indices))
        if wrong := _no_rows(session, outputs, len(indices)):
            return wrong
        for place, index in enumerate(indices):
            if wrong := _differs(session, single(index), outputs, place, len(indices)):
                return wrong
    return _hostile_mates(session, samples, single(0))


def _orders(most_rows: int) -> Iterator[list[int]]:
    """Batches as lists of row numbers: several sizes, turned round, with a row twice; of rows too large for that, pairs."""
    orders = [*(list(range(size)) for size in _SIZES), list(reversed(range(8))), [3, 0, 3, 1], [1, 0], [0, 0]]
    return (order for order in orders if len(order) <= max(most_rows, 2))


def _hostile_mates(session: Session, samples: Samples, expected: list[Array]) -> str | None:
    for factor in (0.0, 1e6, np.nan):
        mate = _scaled(samples.rows[1 % len(samples.rows)], factor)
        try:
            session.run(mate)
        except PenstockError:
            continue
        for place, pair in enumerate(((samples.rows[0], mate), (mate, samples.rows[0]))):
            outputs = session.run({name: np.concatenate([row[name] for row in pair]) for name in mate})
            if wrong := _differs(session, expected, outputs, place, 2):
                return wrong
    return None


def _scaled(row: Row, factor: float) -> Row:
    with np.errstate(all="ignore"):
        return {name: (array * array.dtype.type(factor)) if array.dtype.kind == "f" else array for name, array in row.items()}


def _examine_fixed(session: Session, samples: Samples, size: int) -> str | None:
    order = list(range(size))
    base = session.run(samples.batch(order))
    if wrong := _no_rows(session, base, size):
        return wrong
    # Turned round, shifted, and with all mates of the first row replaced by copies of it, as padding does.
    for other in ([*reversed(order)], [*order[1:], order[0]], [0] * size):
        outputs = session.run(samples.batch(other))
        for place, index in enumerate(other):
            part = [array[index : index + 1] for array in base]
            if wrong := _differs(session, part, outputs, place, size):
                return wrong
    return None


def _no_rows(session: Session, outputs: list[Array], rows: int) -> str | None:
    for tensor, array in zip(session.outputs, outputs, strict=True):
        if array.shape[:1] != (rows,):
            return f"output {tensor.name} has shape {list(array.shape)} for {rows} rows: no batch axis"
    return None


def _differs(session: Session, single: list[Array], batched: list[Array], place: int, rows: int) -> str | None:
    for tensor, one, many in zip(session.outputs, single, batched, strict=True):
        if one.shape[:1] != (1,):
            return f"output {tensor.name} has shape {list(one.shape)} for one row: no batch axis"
        if not same(one[0], many[place]):
            return f"rows interact: output {tensor.name} of a row changes in a batch of {rows}"
    return None


def same(expected: Array, got: Array, rounding: Mapping[str, float] = _ROUNDING) -> bool:
    """Whether two results are equal up to rounding, which `rounding` gives by dtype, relative to the largest value; exactly
    equal for anything but floats. NaN equals NaN."""
    if expected.shape != got.shape or expected.dtype != got.dtype:
        return False
    if expected.dtype.kind != "f":
        return bool((expected == got).all())
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(got)) or not np.array_equal(expected[~finite], got[~finite], equal_nan=True):
        return False
    if not finite.any():
        return True
    a, b = expected[finite].astype(np.float64), got[finite].astype(np.float64)
    return bool(np.abs(a - b).max() <= rounding[expected.dtype.name] * max(np.abs(a).max(), 1e-6))
