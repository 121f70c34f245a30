"""Calling the predictor with a batch's tensors.

tensors {name: [rows, ...]} -> one InferRequest (or a few, for bulk and for rows that interact) -> outputs {name: [rows, ...]}
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from penstock.dataplane import Context, FutureReply, InferRequest, InferResponse
from penstock.errors import Internal, NotFound, UpstreamUnavailable, WrongBundle
from penstock.tensors import Array, Tensor
from penstock_transformer.active import ActiveBundle
from penstock_transformer.token_lengths import Rows

Tensors = dict[str, Array]
Wanted = Callable[[], bool]


class BatchReply(FutureReply[InferResponse]):
    """The reply to a call that several callers share: gone once none of them waits any more."""

    __slots__ = ("_wanted",)

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self._wanted = wanted

    @property
    def disconnected(self) -> bool:
        return self.future.cancelled() or not self._wanted()


async def call_rows(
    bundle: ActiveBundle, tensors: Tensors, bounds: Sequence[int], context: Context, *, max_rows: int, wanted: Wanted
) -> Tensors:
    """Run the model on all rows. `bounds`: where each caller's rows begin, and the total at the end. `wanted`: anybody waits.

    One call, unless rows interact (then one per caller), or there are more than `max_rows`, or more than a pod does best at once
    where there are several pods (then several, side by side). Raises what the predictor answers; a failed part fails the whole,
    and the others are given up.
    """
    rows = bounds[-1]
    if bundle.independent:
        size = _call_rows(bundle, rows, max_rows)
        groups = bundle.lengths.groups(tensors, size) if bundle.lengths is not None and rows > 1 else None
        if groups is not None:
            return await _call_groups(bundle, tensors, groups, context, wanted)
        if rows <= size:
            return await call(bundle, tensors, context, wanted)
        cuts: Sequence[int] = [*range(0, rows, size), rows]
    elif len(bounds) == 2:
        return await call(bundle, tensors, context, wanted)
    else:
        cuts = bounds
    parts = await _call_all(bundle, [_part(tensors, a, b) for a, b in pairwise(cuts)], context, wanted)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


async def _call_all(bundle: ActiveBundle, shares: Sequence[Tensors], context: Context, wanted: Wanted) -> list[Tensors]:
    calls = [asyncio.ensure_future(call(bundle, share, context, wanted)) for share in shares]
    try:
        return await asyncio.gather(*calls)
    finally:
        for each in calls:
            each.cancel()


async def _call_groups(
    bundle: ActiveBundle, tensors: Tensors, groups: Sequence[Rows], context: Context, wanted: Wanted
) -> Tensors:
    """Rows of about one length in a call of their own, the answers put back into the rows' order."""
    assert bundle.lengths is not None
    parts = await _call_all(bundle, [bundle.lengths.taken(tensors, group) for group in groups], context, wanted)
    for part, group in zip(parts, groups, strict=True):
        check_rows(part, len(group))
    order = np.argsort(np.concatenate(groups))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


async def call(bundle: ActiveBundle, tensors: Tensors, context: Context, wanted: Wanted) -> Tensors:
    """One call. Raises UpstreamUnavailable if the predictor does not know the model, WrongBundle if it holds another bundle."""
    inputs = [Tensor.from_array(name, array) for name, array in tensors.items()]
    reply = BatchReply(wanted)
    try:
        bundle.predictor.submit(InferRequest(bundle.predictor_model, inputs, context), reply)
        response = await reply.future
    except NotFound as error:
        raise UpstreamUnavailable(f"the predictor does not serve {bundle.predictor_model}: {error.message}") from error
    if bundle.expect and response.bundle.rpartition("@")[2] != bundle.expect:
        raise WrongBundle(f"the predictor answered as {response.bundle or 'no bundle'}, not {bundle.label}")
    return {tensor.name: tensor.array for tensor in response.outputs}


def check_rows(outputs: Tensors, rows: int) -> None:
    """Raises Internal unless every output has one entry a row, without which it cannot be split between callers."""
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != rows:
            raise Internal(f"output {name} has shape {list(array.shape)} for {rows} rows; expected one entry a row")


def _call_rows(bundle: ActiveBundle, rows: int, max_rows: int) -> int:
    """The rows of one call: what a pod does best, if a batch is large enough for two such calls, and `max_rows` at most."""
    best: Callable[[str], int] | None = getattr(bundle.predictor, "call_rows", None)
    size = best(bundle.predictor_model) if best is not None else 0
    return min(size, max_rows) if 0 < 2 * size <= rows else max_rows


def _part(tensors: Tensors, start: int, stop: int) -> Tensors:
    return {name: array[start:stop] for name, array in tensors.items()}
