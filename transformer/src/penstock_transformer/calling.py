"""Calling the predictor with a batch's tensors.

tensors {name: [rows, ...]} -> one InferRequest (or a few, for bulk and for rows that interact) -> outputs {name: [rows, ...]}
"""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import Internal, NotFound, UpstreamUnavailable, WrongBundle
from penstock.tensors import Array, Tensor
from penstock_transformer.active import ActiveBundle

Tensors = dict[str, Array]


async def call_rows(bundle: ActiveBundle, tensors: Tensors, bounds: Sequence[int], context: Context, *, max_rows: int) -> Tensors:
    """Run the model on all rows. `bounds`: where each caller's rows begin, and the total at the end.

    One call, unless rows interact (then one per caller) or there are more than `max_rows` (then several, side by side). Raises
    what the predictor answers; a failed part fails the whole.
    """
    rows = bounds[-1]
    if bundle.independent:
        if rows <= max_rows:
            return await call(bundle, tensors, context)
        cuts: Sequence[int] = [*range(0, rows, max_rows), rows]
    elif len(bounds) == 2:
        return await call(bundle, tensors, context)
    else:
        cuts = bounds
    calls = [call(bundle, _part(tensors, a, b), context) for a, b in pairwise(cuts)]
    parts = await asyncio.gather(*calls)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


async def call(bundle: ActiveBundle, tensors: Tensors, context: Context) -> Tensors:
    """One call. Raises UpstreamUnavailable if the predictor does not know the model, WrongBundle if it holds another bundle."""
    inputs = [Tensor.from_array(name, array) for name, array in tensors.items()]
    try:
        response = await infer(bundle.predictor, InferRequest(bundle.predictor_model, inputs, context))
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


def _part(tensors: Tensors, start: int, stop: int) -> Tensors:
    return {name: array[start:stop] for name, array in tensors.items()}
