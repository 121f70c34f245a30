"""One caller's request while it is in the pipeline: what the batcher counts, and the one chance to answer."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, ClassVar

from penstock.dataplane import Context
from penstock.errors import PenstockError
from penstock.zero_shot import Asked
from penstock_transformer.active import ActiveBundle
from penstock_transformer.call import of_both_tries
from penstock_transformer.requests import PredictReply, PredictRequest, PredictResponse, Row

if TYPE_CHECKING:
    from penstock_transformer.evidence.pairs import Pair

# What a row of plain values takes in memory, for the queue's budget: a dict of about twenty short values.
_ROW_BYTES = 2048


class PredictWork:
    """`tensors_only`: the caller reads the model's outputs and wants no predictions. `bundle`: decided already (shadows, second
    tries); None for the route to choose. `ended`: a connection ended with it at the first try. `heavy`: its rows may hold large
    values, which are counted. `asked`: its rows spread over candidate labels, for a bundle that judges those. Implements
    `penstock.batcher.Work`; answered at most once.

    For the evidence: `counted`, or not to be, because it names its bundle; `failure`, the kind of its error; `sticky`, the key
    that it was routed by; `pairs`, what shadows say to the same; `window`, in which its key counts, None for that in which it is
    counted."""

    __slots__ = (
        "asked",
        "bundle",
        "context",
        "counted",
        "ended",
        "failure",
        "key",
        "nbytes",
        "pairs",
        "reply",
        "request",
        "retried",
        "rows",
        "sticky",
        "tensors_only",
        "waiting",
        "window",
        "without_data",
    )

    copied: ClassVar[bool] = False
    """Whether it is a copy for a shadow."""

    def __init__(
        self,
        request: PredictRequest,
        reply: PredictReply,
        *,
        tensors_only: bool = False,
        bundle: ActiveBundle | None = None,
        heavy: bool = False,
    ) -> None:
        self.request = request
        self.reply = reply
        self.context: Context = request.context
        self.key: Hashable = 0
        self.tensors_only = tensors_only
        self.bundle = bundle
        self.asked: Asked | None = None
        self.retried = False
        self.ended = False
        self.waiting = True
        self.counted = self.context.expect_bundle is not None or request.version is not None
        self.failure: str | None = None
        self.sticky: bytes | None = None
        self.pairs: list[Pair] | None = None
        self.window: int | None = None
        self.without_data = request.options is not None and not request.options.get("data", True)
        rows, columns = request.rows, request.columns
        if rows is not None:
            self.rows = len(rows)
            self.nbytes = _rows_bytes(rows) if heavy else _ROW_BYTES * self.rows
        elif columns:
            self.rows = max(len(array) for array in columns.values())
            self.nbytes = sum(array.nbytes for array in columns.values())
        else:
            self.rows = 1 if request.record_id is not None else 0
            self.nbytes = _ROW_BYTES

    @property
    def disconnected(self) -> bool:
        return self.reply.disconnected

    def put(self, response: PredictResponse) -> None:
        """Answer, unless that has been done."""
        if self.waiting:
            self.waiting = False
            self.reply.put(response)

    def error(self, error: PenstockError) -> None:
        """Answer with an error, unless an answer has been given."""
        if self.waiting:
            self.waiting = False
            self.failure = error.kind.value
            if self.ended:
                error = of_both_tries(error)
            self.reply.error(error if self.asked is None else self.asked.restated(error))


class CopiedWork(PredictWork):
    """A copy of a request, for a shadow. `allowed_s`: how long its request had from the start of its batch, None for no deadline.
    So long has the copy from the start of its own: what it waits for the shadow's queue is not the shadow's doing."""

    __slots__ = ("allowed_s",)

    copied = True

    def __init__(self, request: PredictRequest, reply: PredictReply, *, bundle: ActiveBundle, allowed_s: float | None) -> None:
        super().__init__(request, reply, tensors_only=True, bundle=bundle)
        self.allowed_s = allowed_s

    def begin(self, now_s: float) -> None:
        """Its batch begins."""
        if self.allowed_s is not None:
            self.context.deadline = now_s + self.allowed_s


def _rows_bytes(rows: list[Row]) -> int:
    """About what rows take that hold large values: images as bytes or base64, lists of numbers."""
    nbytes = _ROW_BYTES * len(rows)
    for row in rows:
        for value in row.values():
            if type(value) in (bytes, str):
                nbytes += len(value)
            elif type(value) is list:
                nbytes += 32 * len(value)
    return nbytes
