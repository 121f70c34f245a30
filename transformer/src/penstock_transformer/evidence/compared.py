"""What of a batch's outputs a pair is compared by, kept until its other half is there: one request's rows of one output.

    Sums --a request's place in the batch--> Compared --its rows, or None--> Half --both there--> Backlog

A live half waits for a shadow that may be slow, behind as many others as the queue of copies takes; that queue counts the bytes
of requests, not of answers. Invariant: what all halves of a process hold has a bound in bytes (`Room`), and keeps nothing alive
that it is a part of, but the same rows of a small batch.
"""

from typing import Final

from penstock.errors import PenstockError
from penstock.postprocess import Postprocessor
from penstock.tensors import Array

MOST_BYTES: Final = 32 * 2**20
"""As many as copies take that wait for a shadow, unless set otherwise."""

SMALL_BYTES: Final = 2**14
"""Up to which a batch's rows are kept together: a copy of each would cost more than all else that is done for its pair."""

FAULTS: Final = (PenstockError, ValueError, TypeError, IndexError, KeyError)
"""What a model that breaks its word makes of numpy and of postprocessors."""


class Room:
    """How many bytes the halves of a process hold."""

    __slots__ = ("nbytes",)

    def __init__(self) -> None:
        self.nbytes = 0


class Compared:
    """One bundle's."""

    __slots__ = ("_form", "_postprocessor", "_says", "_source", "room")

    def __init__(self, postprocessor: Postprocessor, room: Room) -> None:
        self.room = room
        self._postprocessor = postprocessor
        self._source = postprocessor.source
        self._form: object = None
        self._says = False

    def of(self, outputs: dict[str, Array]) -> Array | None:
        """A batch's output that predictions are read from; None where there is nothing in it to compare."""
        array = outputs.get(self._source)
        if array is None or not array.ndim:
            return None
        form = array.shape[1:], array.dtype
        if form != self._form:
            self._form, self._says = form, self._says_something(array)
        if not self._says:
            return None
        # A view is a part of a body with all outputs, or of other callers' rows.
        return array if array.base is None or array.nbytes > SMALL_BYTES else array.copy()

    def rows(self, array: Array, start: int, stop: int) -> Array | None:
        """Rows `start` to `stop` of what `of` found, to be kept; None where there are none, or there is no room."""
        rows = len(array)
        if not start < stop <= rows:
            return None
        mine = array[start:stop]
        if self.room.nbytes + mine.nbytes > MOST_BYTES:
            return None
        return mine if array.base is None and (stop - start == rows or array.nbytes <= SMALL_BYTES) else mine.copy()

    def _says_something(self, array: Array) -> bool:
        """Whether predictions of such rows have a label or a number: it shows without any row."""
        try:
            judged = self._postprocessor.judge({self._source: array[:0]})
        except FAULTS:
            # Told, once, by whoever compares them.
            return True
        return bool(judged.codes or judged.numbers)
