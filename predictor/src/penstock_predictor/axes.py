"""Which axis of a model is the batch, and what that allows: the rule by which requests may share a run.

    signature -> candidate rule -> rows.examine() tries it -> the rule that holds

A symbolic first axis proves nothing: the rule here is only what would be tried. ALONE is always right; every doubt ends there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from penstock.dataplane import TensorMetadata


class Sharing(StrEnum):
    """What requests may do with the first axis.

    ALONE: a request is a run, as it came. FREE: rows of several requests are stacked, any number of them. FIXED: the model takes
    exactly `size` rows; fewer are padded, more take several runs, and requests share those.
    """

    ALONE = "alone"
    FREE = "free"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class BatchRule:
    """How a model may be batched, and why. `size` is the fixed number of rows, 0 where there is none."""

    sharing: Sharing
    reason: str
    size: int = 0


def candidate(inputs: Sequence[TensorMetadata]) -> BatchRule:
    """The most that the inputs' shapes would allow, to be tried on the model itself."""
    if not inputs:
        return BatchRule(Sharing.ALONE, "the model has no inputs")
    without = [tensor.name for tensor in inputs if not tensor.shape]
    if without:
        return BatchRule(Sharing.ALONE, f"input {without[0]} has no axes")
    first = {tensor.shape[0] for tensor in inputs}
    if first == {-1}:
        return BatchRule(Sharing.FREE, "every input's first axis varies")
    if len(first) == 1:
        size = first.pop()
        return BatchRule(Sharing.FIXED, f"every input has {size} rows", size) if size > 0 else BatchRule(Sharing.ALONE, "no rows")
    return BatchRule(Sharing.ALONE, "the inputs' first axes differ")


def tails_vary(inputs: Sequence[TensorMetadata]) -> bool:
    """Whether an axis behind the first varies, so that only requests of equal shapes can be stacked."""
    return any(-1 in tensor.shape[1:] for tensor in inputs)
