"""Texts of one batch by their length: a long one is not run beside short ones, which would then be padded to its length.

    tensors [rows, longest] --groups--> rows of about one length each --taken--> tensors [some rows, their longest]

A model's work grows with rows times tokens, padding included. Lengths are grouped by powers of two, so padding is at most half of
any group; a batch whose groups would save less than a quarter is run whole.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from penstock.features.plan import Plan
from penstock.tensors import Array

Rows = npt.NDArray[np.intp]

# Tokens of a batch below which a second call costs more than the padding; and the length that all shorter ones count as.
_LEAST_TOKENS = 512
_SHORTEST = 16
_WORTH = 0.75


class TokenLengths:
    """Groups the rows of tensors whose last axis is the tokens of one text, by the text's attention mask."""

    __slots__ = ("_mask", "_names")

    def __init__(self, mask: str, names: Sequence[str]) -> None:
        """`mask`: the tensor that is the attention mask; `names`: all that have its axis of tokens."""
        self._mask = mask
        self._names = frozenset(names)

    @classmethod
    def of(cls, plan: Plan) -> "TokenLengths | None":
        """For a plan with one text whose length varies and whose mask the model is given; None for any other."""
        tokens = [tensor for tensor in plan.tensors if tensor.source is not None]
        texts = {tensor.parts for tensor in tokens}
        mask = next((t.name for t in tokens if t.source is not None and t.source.endswith("__attention_mask")), None)
        if mask is None or len(texts) != 1 or tokens[0].row_shape != (-1,):
            return None
        return cls(mask, [tensor.name for tensor in tokens])

    def groups(self, tensors: dict[str, Array], most_rows: int) -> list[Rows] | None:
        """Row numbers of calls of about one length and `most_rows` each, or None where one call is as good."""
        mask = tensors[self._mask]
        rows, longest = mask.shape
        if rows * longest < _LEAST_TOKENS:
            return None
        lengths = np.maximum((mask != 0).sum(axis=1), _SHORTEST)
        sizes = np.ceil(np.log2(lengths)).astype(np.intp)
        found = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
        if sum(len(group) * int(lengths[group].max()) for group in found) > _WORTH * rows * longest:
            return None
        return [group[start : start + most_rows] for group in found for start in range(0, len(group), most_rows)]

    def taken(self, tensors: dict[str, Array], rows: Rows) -> dict[str, Array]:
        """The tensors of some rows, without the tokens that are padding in all of them."""
        kept = (tensors[self._mask][rows] != 0).any(axis=0)
        first, last = int(kept.argmax()), len(kept) - int(kept[::-1].argmax())
        return {
            name: np.ascontiguousarray(array[rows, first:last]) if name in self._names else array[rows]
            for name, array in tensors.items()
        }
